"""Which models a server offers: those that are ready, and those that a user trained, from their folder."""

import csv
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from harness import Server
from textseg.cli import main
from textseg.data.phantoms import draw_radiograph
from textseg.errors import OptionError, TextSegError, WeightsMissing
from textseg.registry import DEFAULT_MODEL
from textseg.server.served import served_predictors
from textseg.text.sentence import canonical


@pytest.fixture
def without_encoder(tmp_path: Path) -> Path:
    """A folder with weights of a model whose text encoder is not here."""
    (tmp_path / "tgcam.safetensors").write_bytes(b"weights")
    told = {"threshold": 0.5, "sha256": hashlib.sha256(b"weights").hexdigest(), "text_encoder": {"name": "cxr-bert"}}
    (tmp_path / "tgcam.json").write_text(json.dumps(told))
    return tmp_path


def test_all_are_those_that_are_ready_and_the_log_says_what_the_others_lack(without_encoder, caplog):
    conf = {"models": "all", "weights": str(without_encoder), "pretrained": str(without_encoder)}
    with caplog.at_level(logging.WARNING):
        served = [predictor.spec.name for predictor in served_predictors(conf, without_encoder)]
    assert DEFAULT_MODEL in served and "tgcam" not in served
    (told,) = (record.getMessage() for record in caplog.records if record.getMessage().startswith("tgcam is not"))
    assert "textseg fetch cxr-bert" in told


@pytest.mark.parametrize(
    ("conf", "error", "told"),
    [
        ({"models": "tgcam", "weights": "HERE", "pretrained": "HERE"}, WeightsMissing, "textseg fetch cxr-bert"),
        ({"weights": "HERE", "pretrained": "HERE"}, WeightsMissing, "textseg fetch cxr-bert"),
        ({"models": "c2fvl"}, WeightsMissing, "--conf weights FOLDER"),
        ({"weights": "HERE/gone"}, OptionError, "no such folder"),
        ({"weights": "HERE/empty"}, OptionError, "MODEL.safetensors"),
        ({"pretrained": "HERE/gone"}, OptionError, "--conf pretrained"),
    ],
)
def test_what_is_named_and_not_ready_stops_the_start_with_what_to_do(without_encoder, conf, error, told):
    (without_encoder / "empty").mkdir()
    with pytest.raises(TextSegError, match=told) as stopped:
        here = {key: value.replace("HERE", str(without_encoder)) for key, value in conf.items()}
        served_predictors(here, without_encoder)
    assert type(stopped.value) is error


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawn X-rays with masks and sentences, two to train on and two to choose by."""
    folder = tmp_path_factory.mktemp("drawn")
    rows = [("image", "prompt", "split")]
    for name, split in {"a": "train", "b": "train", "c": "valid", "d": "valid"}.items():
        phantom = draw_radiograph({"left": ("lower",)}, seed=ord(name), size=224)
        for part, pixels in (("images", phantom.image), ("masks", phantom.mask * 255)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")
        rows.append((f"{name}.png", canonical(phantom.finding), split))
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_what_was_trained_here_is_served_from_its_folder(
    drawn: Path, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    options = ["--data", str(drawn), "--output", str(output), "--epochs", "1", "--phantoms", "0", "--random-encoders"]
    assert main(["train", "tgcam-compact", *options]) == 0
    server = start_server(drawn / "images", "--conf", "weights", str(output))
    assert list(server.client(tmp_path).info()["models"]) == ["tgcam-compact"]
    answer = server.post("a", json.dumps({"prompt": "infection, left lung"}), model="tgcam-compact")
    assert answer.status_code == 200 and b"tgcam-compact" in answer.content
