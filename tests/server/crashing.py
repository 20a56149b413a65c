"""A server that is killed while clients save labels and ask prompts, and a look at all that it had acknowledged."""

import hashlib
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from PIL import Image

from harness import Server, start
from textseg.data.phantoms import draw_radiograph
from textseg.data.store.store import Store
from textseg.registry import DEFAULT_MODEL

# One for each client: their masks have different names, so each one's label answers its own prompt.
PROMPTS = ("Infiltrate in the left lower lobe", "RLL consolidation", "Left upper lobe pneumonia")
PICTURES = ("kilo", "lima", "mike", "november")
SIDE = 96  # pixels
CORRECTIONS = 6  # at most, for one prompt
LONGEST_LIFE = 3  # after everyone's first acknowledged label; 1 is the time that it took, on this disk and this day
PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Kept:
    """A label that was acknowledged: version and prompt as the server told them, voxels as they were sent."""

    picture: str
    number: int
    prompt: str
    label: np.ndarray


@dataclass
class Figures:
    """kills: of the server. labels, prompts: acknowledged. starts: seconds until the server answered after a kill."""

    kills: int = 0
    labels: int = 0
    prompts: int = 0
    starts: list[float] = field(default_factory=list)


@dataclass
class Crashes:
    """A studies folder whose server is killed again and again, and all that was ever acknowledged there."""

    studies: Path
    folder: Path
    rng: random.Random
    labels: list[Kept] = field(default_factory=list)
    prompts: list[tuple[str, str]] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)

    @classmethod
    def drawn(cls, folder: Path, seed: int) -> "Crashes":
        """New studies of small drawn pictures."""
        studies = folder / "studies"
        studies.mkdir()
        for number, name in enumerate(PICTURES):
            drawn = draw_radiograph({"left": ("lower",), "right": ("upper",)}, number, SIDE)
            Image.fromarray(drawn.image).save(studies / f"{name}.png")
        return cls(studies, folder, random.Random(seed))

    @contextmanager
    def server(self) -> Iterator[Server]:
        """A server on the studies, which is killed at the end."""
        begun = time.monotonic()
        server = start(self.studies, (), self.folder)
        self.figures.starts.append(time.monotonic() - begun)
        try:
            yield server
        finally:
            server.process.kill()
            server.process.wait(PATIENCE)

    def crash(self) -> None:
        """Start the server, let all clients work, kill it, look at the store."""
        with self.server() as server:
            self.assert_given_out(server)
            clients = [_Worker(server, self.folder / str(number), number, self.rng.random()) for number in range(3)]
            begun = time.monotonic()
            for client in clients:
                client.start()
            while not all(client.labels for client in clients):
                assert all(client.is_alive() for client in clients), "a client could not work"
                assert time.monotonic() < begun + PATIENCE, "labels are not acknowledged"
                time.sleep(0.001)
            time.sleep(self.rng.uniform(0, LONGEST_LIFE) * (time.monotonic() - begun))
            server.process.kill()
        for client in clients:
            client.join(PATIENCE)
            assert not client.is_alive() and not client.surprises, client.surprises
            self.labels += client.labels
            self.prompts += client.prompts
        self.figures.kills += 1
        self.figures.labels, self.figures.prompts = len(self.labels), len(self.prompts)
        self.check()

    def check(self) -> None:
        """Opens the store anew and asserts that it holds all that was ever acknowledged."""
        store = Store(self.studies)
        store.shown.scan(set(PICTURES))
        asked = {name: {entry.prompt for entry in store.history(name).entries} for name in PICTURES}
        for picture, prompt in self.prompts:
            assert prompt in asked[picture], f"{picture} lost the prompt {prompt}"
        versions = {name: {each.number: each for each in store.label_versions(name, "final")} for name in PICTURES}
        for kept in self.labels:
            version = versions[kept.picture].get(kept.number)
            assert version, f"{kept.picture} lost version {kept.number} of its label"
            file = store.label_path(kept.picture, "final", version)
            assert hashlib.sha256(file.read_bytes()).hexdigest() == version.sha256, f"{file} is torn"
            assert np.array_equal(voxels(file), kept.label), f"{file} does not hold what was sent"
            assert [segment.prompt for segment in version.segments] == [kept.prompt]
        for name in [name for name in PICTURES if versions[name]]:
            current = versions[name][max(versions[name])]
            shown = store.shown.path(name, "final")
            assert shown.read_bytes() == store.label_path(name, "final", current).read_bytes()

    def assert_given_out(self, server: Server) -> None:
        """The server that was started anew gives out the current labels."""
        client = MONAILabelClient(server.url, tmpdir=str(self.folder))
        objects = client.datastore()["objects"]
        assert set(objects) == set(PICTURES)
        for name in {kept.picture for kept in self.labels}:
            number = objects[name]["labels"]["final"]["info"]["number"]
            assert number >= max(kept.number for kept in self.labels if kept.picture == name)
            for kept in self.labels:
                if (kept.picture, kept.number) == (name, number):
                    assert np.array_equal(voxels(Path(client.download_label(name, "final"))), kept.label)


class _Worker(threading.Thread):
    """A client that asks its prompt of a picture and saves a label for it, without end."""

    def __init__(self, server: Server, folder: Path, number: int, seed: float) -> None:
        super().__init__(daemon=True)
        folder.mkdir(exist_ok=True)
        self._server, self._folder, self._number = server, folder, number
        self._rng = random.Random(seed)
        self._client = MONAILabelClient(server.url, tmpdir=str(folder), client_id=f"client {number}")
        self.labels: list[Kept] = []
        self.prompts: list[tuple[str, str]] = []
        self.surprises: list[str] = []

    def run(self) -> None:
        """Work until the server is gone."""
        try:
            while True:
                self._work()
        except MONAILabelClientException as error:
            self.surprises.append(error.msg)
        except Exception as error:
            # An answer that the kill cut off is none, and the client shows that in many ways.
            with suppress(subprocess.TimeoutExpired):
                self._server.process.wait(1)
                return
            self.surprises.append(repr(error))

    def _work(self) -> None:
        """One prompt and some corrections of its mask."""
        picture = self._rng.choice(PICTURES)
        prompt = f"{PROMPTS[self._number]} ({self._rng.getrandbits(40)})"
        _, reply = self._client.infer(DEFAULT_MODEL, picture, {"prompt": prompt})
        self.prompts.append((picture, prompt))
        (segment,) = reply["label_names"]
        for _ in range(self._rng.randint(1, CORRECTIONS)):
            label = np.random.default_rng(self._rng.getrandbits(32)).integers(0, 2, (1, SIDE, SIDE), np.uint8)
            file = self._folder / f"label{self._rng.choice(('.nii.gz', '.nrrd', '.mha'))}"
            sitk.WriteImage(sitk.GetImageFromArray(label), str(file))
            told = self._client.save_label(picture, str(file), params={"label_info": [{"name": segment, "idx": 1}]})
            self.labels.append(Kept(picture, told["version"], prompt, label))


def voxels(file: Path) -> np.ndarray:
    """What a label file holds."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
