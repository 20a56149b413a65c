"""What tests of trainings share: a data set of drawn pictures."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from textseg.data.phantoms import draw_radiograph
from textseg.text.sentence import canonical


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn X-rays with masks and sentences, four to train on and two to choose by."""
    folder = tmp_path_factory.mktemp("drawn")
    rows = [("image", "prompt", "split")]
    for number in range(6):
        phantom = draw_radiograph({"left": ("lower",), "right": ("upper",)}, seed=number, size=224)
        name = f"phantom_{'abcdef'[number]}.png"
        for part, pixels in (("images", phantom.image), ("masks", phantom.mask * 255)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / part / name)
        rows.append((name, canonical(phantom.finding), "train" if number < 4 else "valid"))
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder
