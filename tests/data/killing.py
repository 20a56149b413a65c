"""Writers killed at random moments, and the store looked at after each kill: what was acknowledged must be there."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from keeping import opened
from writer import Saved, keep_one

from textseg.data.store.durable import STALE_SECONDS
from textseg.data.store.shown import TAGS
from textseg.data.store.store import Store
from textseg.errors import StoreError

WRITER = Path(__file__).with_name("writer.py")
LONGEST_LIFE = 3  # after a writer's first acknowledged save; 1 is the time that it took, on this disk and this day
WORKED_ON = 20  # pictures at a time
PATIENCE = 120  # seconds
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass
class Figures:
    """kills: writers ended by SIGKILL. saves: acknowledged. torn: label files that are not what they must be. drafts:
    unfinished files that the kills left and that were cleared away."""

    kills: int = 0
    saves: int = 0
    torn: int = 0
    drafts: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


class Writers:
    """The process that starts and kills writers; see writer.py."""

    def __init__(self, errors: Path) -> None:
        self._errors, self._living = errors, set[int]()
        self.pace = 0.0  # seconds until the first save of the last writer
        environment = {**os.environ, **ONE_THREAD}
        with errors.open("wb") as file:
            command = [sys.executable, str(WRITER)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, env=environment
            )

    def start(self, studies: Path, pictures: list[str], seed: int, told: Path) -> int:
        """Starts a writer; returns its process id once it has acknowledged a save."""
        order = {"studies": str(studies), "pictures": pictures, "seed": seed, "told": str(told)}
        process = self._ask({"write": order})
        self._living.add(process)
        begun = time.monotonic()
        while not told.exists() or told.stat().st_size == 0:
            assert time.monotonic() < begun + PATIENCE, f"a writer does not save: {self.errors()}"
            assert not self.errors(), self.errors()
            time.sleep(0.001)
        self.pace = time.monotonic() - begun
        return process

    def kill(self, process: int) -> None:
        """SIGKILL for a writer, which must have lived until then."""
        self._living.remove(process)
        ended_by = self._ask({"kill": process})
        assert ended_by == 9, f"the writer ended by itself: {self.errors()}"

    def errors(self) -> str:
        """What the writers said on their standard error."""
        return self._errors.read_text()

    def stop(self) -> None:
        """Kills those that live, and takes no more orders."""
        for process in self._living:
            self._ask({"kill": process})
        self._process.communicate(timeout=PATIENCE)

    def _ask(self, order: dict[str, object]) -> int:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def writers(errors: Path) -> Iterator[Writers]:
    """Writers that can be started inside the `with`."""
    started = Writers(errors)
    try:
        yield started
    finally:
        started.stop()


@dataclass
class Pool:
    """A store of many pictures, and all that was ever acknowledged in it."""

    studies: Path
    pictures: list[str]
    acknowledged: list[Saved] = field(default_factory=list)

    @classmethod
    def filled(cls, studies: Path, count: int, seed: int) -> "Pool":
        """A new one; every picture has a label and a prompt."""
        studies.mkdir(parents=True)
        store = Store(studies)
        first, *others = [f"picture{number:05d}" for number in range(count)]
        saved = keep_one(store, first, "right lung", random.Random(seed))
        for name in others:  # quicker than to save each
            shutil.copytree(store.layout.picture(first), store.layout.picture(name))
            shown = store.shown.path(first, saved.tag)
            shutil.copy2(shown, shown.with_name(name + shown.suffix))
        return cls(studies, [first, *others], [replace(saved, picture=name) for name in (first, *others)])

    def check(self, pictures: list[str]) -> int:
        """Opens the store anew and asserts that it holds all that was acknowledged of these pictures.

        Returns how many label files are torn, for the one who prints it: it is 0, or this raises.
        """
        store = opened(self.studies, *pictures)
        saves: dict[str, list[Saved]] = {name: [] for name in pictures}
        for saved in self.acknowledged:
            if saved.picture in saves:
                saves[saved.picture].append(saved)
        torn = sum(check_picture(store, name, saves[name]) for name in pictures)
        assert torn == 0
        return torn

    def clear_unfinished(self) -> int:
        """Asserts that nothing is left unfinished but what goes when it is old; returns how many files that were."""
        folder = Store(self.studies).layout.unfinished
        drafts = list(folder.iterdir())
        long_ago = time.time() - STALE_SECONDS - 1
        for draft in drafts:
            os.utime(draft, (long_ago, long_ago))
        Store(self.studies)
        assert list(folder.iterdir()) == []
        return len(drafts)


def check_picture(store: Store, name: str, saves: list[Saved]) -> int:
    """Asserts that a picture has all that was acknowledged; returns how many of its label files are torn."""
    prompts = {entry.prompt for entry in store.history(name).entries}
    assert prompts >= {saved.prompt for saved in saves}, f"{name} lost a prompt"
    assert all(each.prompt for tag in TAGS for each in store.label_versions(name, tag)), f"{name}: made-up version"
    torn = 0
    for tag in {saved.tag for saved in saves}:
        versions = {version.number: version for version in store.label_versions(name, tag)}
        files = {number: store.label_path(name, tag, each).read_bytes() for number, each in versions.items()}
        torn += sum(hashlib.sha256(files[number]).hexdigest() != each.sha256 for number, each in versions.items())
        for saved in saves:
            if saved.tag == tag:
                version = versions.get(saved.number)
                assert version, f"{name} lost version {saved.number} of its label {tag}"
                assert (version.sha256, version.prompt) == (saved.sha256, saved.prompt)
        current = store.current_label(name, tag)
        assert current.number == max(versions)
        shown = store.shown.path(name, tag)
        assert shown.parent == store.layout.shown(tag), f"{name} shows what is no label {tag}"
        assert shown.read_bytes() == files[current.number], f"{name} shows another label {tag} than its current one"
        assert store.made(name, tag) is not None
    return torn


def read_told(path: Path) -> list[Saved]:
    """What a writer has acknowledged; a last line that was cut by the kill was not."""
    return [Saved(**json.loads(line)) for line in path.read_bytes().split(b"\n")[:-1]]


def wait(seconds: float, beside: Store | None, pictures: list[str]) -> None:
    """Let writers live on; beside: a server's store, which looks at the shown labels meanwhile and changes none."""
    until = time.monotonic() + seconds
    while beside and time.monotonic() < until:
        with suppress(OSError, StoreError):  # as the server does: a file that is gone meanwhile
            beside.shown.scan(set(pictures))
    time.sleep(max(0.0, until - time.monotonic()))


def kill_writers(pool: Pool, started: Writers, folder: Path, kills: int, seed: int) -> Figures:
    """Kill that many writers, one or two at a time, and look at the store after each round; then at all of it."""
    rng, figures, before = random.Random(seed), Figures(), len(pool.acknowledged)
    beside = Store(pool.studies)
    while figures.kills < kills:
        pictures = rng.sample(pool.pictures, min(WORKED_ON, len(pool.pictures)))
        together = min(rng.choice((1, 1, 2)), kills - figures.kills)
        told = [folder / f"{seed}-{figures.kills + number}.told" for number in range(together)]
        living = [started.start(pool.studies, pictures, rng.getrandbits(32), path) for path in told]
        for process in living:
            wait(rng.uniform(0, LONGEST_LIFE) * started.pace, beside if rng.random() < 0.3 else None, pictures)
            started.kill(process)
            figures.kills += 1
        pool.acknowledged += [saved for path in told for saved in read_told(path)]
        figures.torn += pool.check(pictures)
    figures.torn += pool.check(pool.pictures)
    figures.saves = len(pool.acknowledged) - before
    figures.drafts = pool.clear_unfinished()
    assert not started.errors(), started.errors()
    return figures
