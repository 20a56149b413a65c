"""Studies that are scored by a stand-in, without a server."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from stand_in import Drawn, stand_in
from textseg.choosing.ranking import Ranked
from textseg.server.infer_queue import InferQueue
from textseg.server.next_pictures import NextPictures
from textseg.server.studies import Studies

NAMES = ("alpha", "bravo", "charlie", "delta")
PATIENCE = 60.0


class Current:
    """The model that serves: a test says which."""

    def __init__(self) -> None:
        self.predictor = stand_in(lambda picture, text: (picture - 0.5) * 9 + 2 * text[3])
        self.network: Drawn = self.predictor.network

    def get(self) -> object:
        return self.predictor

    last = property(get)


class Site:
    """Studies with four pictures, one of them without a prompt, and what chooses among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        for name in NAMES:
            Image.fromarray(random.integers(0, 255, (40, 40), np.uint8)).save(folder / f"{name}.png")
        self.write_prompts(dict.fromkeys(NAMES[:3], "infection, lower left lung"))
        self.studies = Studies(str(folder), auto_reload=False, read_only=False)
        self.current, self.queue = Current(), InferQueue()
        self.choosing = NextPictures(self.studies, {})

    def write_prompts(self, prompts: dict[str, str]) -> None:
        lines = ["image,prompt", *(f'{name},"{text}"' for name, text in prompts.items())]
        (self.folder / "prompts.csv").write_text("\n".join(lines) + "\n")

    def begin(self) -> None:
        self.choosing.begin(self.current, self.queue)

    def scores(self) -> dict[str, float | None]:
        return {each.picture: each.score for each in self.choosing.ranking}

    def all_scored(self) -> bool:
        return None not in self.scores().values()

    def ranked(self, picture: str) -> Ranked:
        return next(each for each in self.choosing.ranking if each.picture == picture)

    def click(self, client: str = "anna", strategy: str = "random") -> dict:
        given = self.choosing.strategies[strategy]({"client_id": client}, self.studies)
        return self.choosing.with_words(given or {})


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
