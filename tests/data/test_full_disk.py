"""A full disk, or one that may not be written: a save fails in words, harms nothing, and works once there is room."""

import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from keeping import entry, files_of, label_bytes, nrrd, opened, save, shown_files

from textseg.data.store.clients import Client, Clients
from textseg.data.store.forget import forget
from textseg.data.store.store import Store
from textseg.errors import StoreError

EARLIER = [nrrd(bytes([value]) * 10_000) for value in (1, 2)]
LARGE = nrrd(random.Random(0).randbytes(30_000))
ME = Client("slicer", "10.0.0.7")
IN_WORDS = r"could not keep .*Nothing kept earlier is harmed"
FILE_LIMIT = """
    import resource, sys
    from pathlib import Path
    from keeping import entry, files_of, nrrd, opened, save, label_bytes
    from textseg.errors import StoreError

    studies = Path(sys.argv[1])
    store = opened(studies, "p")
    save(store, "p", nrrd(bytes(1_000)))
    store.remember("p", entry("left lung"))
    before, hard = files_of(studies), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for act in (lambda: save(store, "p", nrrd(bytes(9_000))), lambda: store.remember("p", entry("x" * 9_000))):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
        try:
            act()
        except StoreError as error:
            assert "Nothing kept earlier is harmed" in str(error)
        else:
            raise AssertionError("it was kept")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert files_of(studies) == before
        act()
        before = files_of(studies)
    assert label_bytes(opened(studies, "p"), "p") == [nrrd(bytes(1_000)), nrrd(bytes(9_000))]
    assert [len(each.prompt) for each in store.history("p").entries] == [9, 9_000]
"""


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own; the test is skipped where none may be mounted."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root may mount a disk")
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk may be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    with mounted(tmp_path / "disk", "size=1m") as folder:
        yield folder


@pytest.fixture
def used(disk: Path) -> Store:
    """A store on it that has two versions of a label, a prompt and a client."""
    store = opened(disk / "studies", "p")
    for data in EARLIER:
        save(store, "p", data)
    store.remember("p", entry("left lung", segment="infection L"), np.ones((1, 64, 64)))
    store.note("p", pixels_sha256="0")
    Clients(store.layout.studies).give(ME, "p")
    return store


def leave_pages(disk: Path, pages: int) -> Path:
    """Fill the disk until only so many pages are free; returns the file that takes the room."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while (state := os.statvfs(disk)).f_bavail > pages:
            file.write(bytes((state.f_bavail - pages) * state.f_bsize))
            file.flush()
    return ballast


def save_large(store: Store) -> object:
    """A label that takes more room than is left."""
    return save(store, "p", LARGE, info={"comment": "c" * 5_000})


def annotate(store: Store) -> object:
    """A label's version that takes more room than is left."""
    return store.annotate_label("p", "final", {"comment": "c" * 5_000})


def remember(store: Store) -> object:
    """A prompt and a mask that take more room than is left."""
    mask = np.frombuffer(random.Random(1).randbytes(90_000), np.uint8).reshape(1, 300, 300) > 127
    return store.remember("p", entry("x" * 9_000, segment="new"), mask)


def note(store: Store) -> object:
    """What is known of the picture takes more room than is left."""
    return store.note("p", info={"comment": "c" * 9_000})


def take_in(store: Store) -> object:
    """A picture that takes more room than is left."""
    sent = Path(__file__)
    return store.take_in(sent, store.layout.studies / "new.png")


def keep_session(store: Store) -> object:
    """A client's prompt that takes more room than is left."""
    return Clients(store.layout.studies).keep_session_prompt(ME, entry("x" * 9_000), "pixels")


SAVES = [save_large, annotate, remember, note, take_in, keep_session]


def same_but_masks(files: dict[str, bytes]) -> dict[str, bytes]:
    """What must be as it was: all but the masks that a model can make again."""
    return {name: content for name, content in files.items() if not name.endswith(".mask")}


@pytest.mark.parametrize("act", SAVES)
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_a_full_disk_costs_nothing_that_was_kept_earlier(
    disk: Path, used: Store, act: Callable[[Store], object], restart: bool
) -> None:
    studies, refused = used.layout.studies, 0
    before = files_of(studies)
    for pages in range(40):
        ballast = leave_pages(disk, pages)
        try:
            act(used)
        except StoreError as error:
            assert "Make room on its disk" in str(error)
            refused += 1
        else:
            break
        finally:
            ballast.unlink()
        store = opened(studies, "p") if restart else used
        store.shown.scan({"p"})
        assert same_but_masks(files_of(studies)) == same_but_masks(before), f"{pages} pages were free"
        assert label_bytes(store, "p") == EARLIER
        assert not list(store.layout.unfinished.iterdir())
    assert refused
    assert same_but_masks(files_of(studies)) != before


@pytest.mark.parametrize("act", SAVES)
def test_what_failed_on_a_full_disk_works_once_there_is_room(
    disk: Path, used: Store, act: Callable[[Store], object]
) -> None:
    ballast = leave_pages(disk, 0)
    with pytest.raises(StoreError, match=IN_WORDS):
        act(used)
    ballast.unlink()
    act(used)
    again = opened(used.layout.studies, "p")
    saved = {save_large: [*EARLIER, LARGE], annotate: [*EARLIER, EARLIER[-1]]}.get(act, EARLIER)
    assert label_bytes(again, "p") == saved
    assert shown_files(used.layout.studies, "p") == {"p.nrrd": saved[-1]}
    assert len(again.history("p").entries) == (2 if act is remember else 1)


def test_a_full_disk_can_be_read_and_cleaned(disk: Path, used: Store) -> None:
    leave_pages(disk, 0)
    store = opened(used.layout.studies, "p")
    assert [each.prompt for each in store.history("p").entries] == ["left lung"]
    assert label_bytes(store, "p") == EARLIER
    assert store.shown.path("p", "final").read_bytes() == EARLIER[-1]
    forget(used.layout.studies, "p")
    assert store.history("p").entries == ()
    assert shown_files(used.layout.studies, "p") == {}


def test_a_full_disk_and_no_store_yet(disk: Path) -> None:
    leave_pages(disk, 0)
    store = Store(disk / "studies")
    for act in (save_large, remember, note, keep_session):
        with pytest.raises(StoreError, match=IN_WORDS):
            act(store)
    (disk / "ballast").unlink()
    assert save(store, "p", LARGE).number == 1
    assert label_bytes(opened(disk / "studies", "p"), "p") == [LARGE]


def use_clients(studies: Path) -> list[Callable[[], object]]:
    """All that changes what is remembered of a client."""
    clients = Clients(studies)
    return [
        lambda: clients.give(ME, "q"),
        lambda: clients.carried_over(ME, "q", "left lung", ""),
        lambda: clients.keep_session_prompt(ME, entry("left lung"), "pixels"),
    ]


def fill_with_files(disk: Path) -> None:
    """Make files until no more can be made."""
    while free := os.statvfs(disk).f_favail:
        (disk / f"ballast{free}").touch()


def test_a_disk_that_takes_no_more_files_refuses_in_words(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m,nr_inodes=60") as disk:
        store = opened(disk / "studies", "p")
        save(store, "p", EARLIER[0])
        fill_with_files(disk)
        before = files_of(store.layout.studies)
        for act in (save_large, annotate, remember, note, take_in):
            with pytest.raises(StoreError, match=IN_WORDS):
                act(store)
            assert files_of(store.layout.studies) == before, f"{act} changed something"


@pytest.mark.parametrize("number", range(3))
def test_clients_on_a_disk_that_takes_no_more_files_are_refused_in_words(tmp_path: Path, number: int) -> None:
    with mounted(tmp_path / "disk", "size=1m,nr_inodes=60") as disk:
        store = opened(disk / "studies", "p")
        save(store, "p", EARLIER[0])
        fill_with_files(disk)
        with pytest.raises(StoreError, match=IN_WORDS):
            use_clients(store.layout.studies)[number]()


@pytest.fixture
def sealed(disk: Path, used: Store) -> Path:
    """The studies of `used` on a disk that may not be written any more."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    return used.layout.studies


def test_a_disk_that_may_not_be_written_can_be_read(sealed: Path) -> None:
    store = Store(sealed)
    assert [each.prompt for each in store.history("p").entries] == ["left lung"]
    assert store.known("p")["pixels_sha256"] == "0"
    assert store.made("p", "infection L").all()
    assert label_bytes(store, "p") == EARLIER


def test_the_labels_of_a_disk_that_may_not_be_written_are_listed(sealed: Path) -> None:
    store = opened(sealed, "p")
    assert store.shown.tags("p") == ["final"]
    assert store.shown.path("p", "final").read_bytes() == EARLIER[-1]


REMOVALS = [lambda store: store.discard_label("p", "final"), lambda store: forget(store.layout.studies, "p")]


@pytest.mark.parametrize("act", [*SAVES, *REMOVALS])
def test_a_disk_that_may_not_be_written_refuses_in_words(
    disk: Path, sealed: Path, act: Callable[[Store], object]
) -> None:
    before = files_of(sealed)
    with pytest.raises(StoreError, match=IN_WORDS):
        act(Store(sealed))
    assert files_of(sealed) == before
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    act(Store(sealed))


@pytest.mark.parametrize("number", range(3))
def test_clients_on_a_disk_that_may_not_be_written_are_refused_in_words(sealed: Path, number: int) -> None:
    with pytest.raises(StoreError, match=IN_WORDS):
        use_clients(sealed)[number]()


def test_a_folder_that_may_not_be_written_refuses_in_words(studies: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; a disk that may not be written is tested instead")
    store = Store(studies)
    save(store, "p", EARLIER[0])
    folders = [path for path in studies.rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with pytest.raises(StoreError, match=IN_WORDS):
            save(store, "p", LARGE)
        assert label_bytes(opened(studies, "p"), "p") == [EARLIER[0]]
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert save(store, "p", LARGE).number == 2


def test_a_limit_of_size_costs_nothing_that_was_kept_earlier(tmp_path: Path) -> None:
    code = textwrap.dedent(FILE_LIMIT)
    command = [sys.executable, "-c", code, str(tmp_path / "studies")]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
