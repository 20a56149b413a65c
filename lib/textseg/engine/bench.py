"""How long it takes from a picture's file to the network's input, beside a plain ITK read; and to read a prompt."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import SimpleITK as sitk

from textseg.data.sample_studies import write_large_studies
from textseg.errors import PromptError
from textseg.imaging.preprocess import to_network
from textseg.imaging.read import read_picture
from textseg.text.prompt import MAX_LENGTH, read_prompt

SIZE = 224
BATCH = 8


@dataclass(frozen=True)
class Timing:
    """Median seconds: `ours` from file to network input, `plain` for SimpleITK's own read of the same."""

    name: str
    ours: float
    plain: float


def time_reading(repeats: int) -> list[Timing]:
    """Large drawn pictures, each read both ways in turn."""
    with tempfile.TemporaryDirectory(prefix="textseg-") as folder:
        paths = write_large_studies(Path(folder))
        return [_timed(path, repeats) for path in paths]


def time_prompts(repeats: int) -> dict[str, float]:
    """Median seconds to read one prompt: usual ones, and the longest that is allowed, in words that nobody knows."""
    random = Random(0)
    strange = " ".join("".join(random.choices("abcdefghiklmnoprstuvwz", k=9)) for _ in range(MAX_LENGTH))[:MAX_LENGTH]
    report = "Heart size normal. Patchy airspace opacity in the right lower zone. The left lung is clear. "
    prompts = {
        "prompt of one line": report[19:67],
        "report of 9 sentences": report * 3,
        "2000 strange letters": strange,
    }
    return {name: _median_reading(text, repeats) for name, text in prompts.items()}


def _median_reading(prompt: str, repeats: int) -> float:
    return median(_seconds(lambda: _read(prompt)) for _ in range(repeats))


def _read(prompt: str) -> None:
    with suppress(PromptError):
        read_prompt(prompt)


def _timed(path: Path, repeats: int) -> Timing:
    ours, plain = [], []
    for _ in range(repeats + 1):
        ours.append(_seconds(lambda: _to_input(path)))
        plain.append(_seconds(lambda: _plain_read(path)))
    return Timing(path.name, median(ours[1:]), median(plain[1:]))  # the first of each warms up


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _to_input(path: Path) -> None:
    picture = read_picture(path)
    for start in range(0, len(picture.pixels), BATCH):
        to_network(picture.part(start, start + BATCH), SIZE)


def _plain_read(path: Path) -> None:
    if path.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        reader.Execute()
    else:
        sitk.ReadImage(str(path))
