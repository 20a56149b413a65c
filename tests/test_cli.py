"""The command line as its users see it: results on stdout, everything else on stderr, exit codes, files."""

import csv
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from textseg import model_spec
from textseg.cli import main
from textseg.data.dicom_files import write_ct_series
from textseg.data.phantoms import draw_radiograph
from textseg.registry import DEFAULT_MODEL, MODELS
from textseg.text.sentence import canonical

PROMPT = "Bilateral pulmonary infection, two infected areas, lower left lung and upper right lung"
WITHOUT_WEIGHTS = next((name for name, spec in MODELS.items() if not spec.has_weights), None)
TEXTS = {"right", "none", "shuffled", "mirrored"}
PLACES = ({"left": ("lower",), "right": ("upper",)}, {"left": ("middle",)}, {"right": ("lower",)})


def textseg(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """One command in a process of its own."""
    command = [sys.executable, "-m", "textseg.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def strict_json(text: str) -> dict:
    """The whole text as one JSON object without NaN, which JSON does not know."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Path:
    """A drawn X-ray, wider than high."""
    path = tmp_path_factory.mktemp("chest") / "chest.png"
    Image.fromarray(draw_radiograph(PLACES[0], seed=3, size=320).image).resize((320, 280)).save(path)
    return path


@pytest.fixture(scope="module")
def drawn_set(tmp_path_factory) -> Path:
    """Three drawn X-rays with masks, sentences and a split."""
    folder = tmp_path_factory.mktemp("drawn")
    rows = [("image", "prompt", "split")]
    for number, places in enumerate(PLACES):
        phantom, name = draw_radiograph(places, seed=number, size=224), f"phantom_{'abc'[number]}.png"
        for part, pixels in (("images", phantom.image), ("masks", phantom.mask * 255)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / part / name)
        rows.append((name, canonical(phantom.finding), "valid" if number else "train"))
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_info_gives_json_alone_and_needs_no_torch(tmp_path):
    code = (
        "import sys\nfrom textseg.cli import main\ncode = main(['info', '--json'])\n"
        "print(sorted({'torch', 'monai', 'monailabel'} & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    models = {model["name"]: model for model in strict_json(done.stdout)["models"]}
    assert set(models) == set(MODELS)
    assert {name for name, model in models.items() if model["weights"]} == {
        n for n, s in MODELS.items() if s.has_weights
    }
    assert [name for name, model in models.items() if model["default"]] == [DEFAULT_MODEL]


def test_info_for_people_says_how_to_get_missing_weights(capsys):
    assert main(["info"]) == 0
    told = re.split(r"\n(?=\S)", capsys.readouterr().out)  # what belongs to a model stands indented below it
    assert [lines.split()[0] for lines in told] == list(MODELS)
    for lines, spec in zip(told, MODELS.values(), strict=True):
        assert f"{spec.parameters:,}" in lines
        assert ("ready" in lines) if spec.has_weights else (f"textseg train {spec.name}" in lines)
        assert all(name in lines for name in spec.pretrained) and ("textseg fetch" in lines) == bool(spec.pretrained)


def test_info_does_not_call_ready_what_lacks_its_text_encoder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model_spec, "WEIGHTS_FOLDER", tmp_path)
    monkeypatch.setenv("TEXTSEG_PRETRAINED", str(tmp_path))
    (tmp_path / "tgcam.safetensors").write_bytes(b"weights")
    manifest = {"threshold": 0.5, "sha256": hashlib.sha256(b"weights").hexdigest()}
    for told, ready in (({"name": "cxr-bert"}, False), ({"name": "cxr-bert", "random": True}, True)):
        (tmp_path / "tgcam.json").write_text(json.dumps({**manifest, "text_encoder": told}))
        assert main(["info", "--json"]) == 0
        (model,) = (m for m in strict_json(capsys.readouterr().out)["models"] if m["name"] == "tgcam")
        assert model["weights"] and model["ready"] is ready
        assert ready or "textseg fetch cxr-bert" in model["reason"]


def test_predict_writes_mask_and_overlay_and_prints_json_alone(chest, tmp_path):
    done = textseg("predict", chest, "--prompt", PROMPT, "--overlay", "over.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = strict_json(done.stdout)
    assert report["finding"]["left"] == ["lower"] and report["finding"]["right"] == ["upper"]
    assert (report["model_name"], report["mask"]) == (DEFAULT_MODEL, "chest_mask.nii.gz")
    mask = sitk.ReadImage(str(tmp_path / report["mask"]))
    assert mask.GetSize() == (320, 280, 1) and mask.GetSpacing() == (1, 1, 1)
    pixels = sitk.GetArrayFromImage(mask)
    assert set(np.unique(pixels)) <= {0, 1} and pixels.sum() == report["pixels"]
    overlay = Image.open(tmp_path / "over.png")
    assert (overlay.size, overlay.mode) == ((320, 280), "RGB")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chest_mask.nii.gz", "over.png"]


def test_predict_segments_a_series_folder_as_the_modality_that_is_asked_for(tmp_path, capsys):
    write_ct_series(tmp_path / "scan.v1", np.full((3, 24, 32), -800, np.int16), (0.7, 0.9, 2.5), "scan")
    assert main(["predict", str(tmp_path / "scan.v1"), "--prompt", "infection, left lung", "--json"]) == 0
    report = strict_json(capsys.readouterr().out)
    assert report["mask"] == "scan.v1_mask.nii.gz" and any("never seen CT" in warning for warning in report["warnings"])
    mask = sitk.ReadImage(report["mask"])
    assert mask.GetSize() == (32, 24, 3) and mask.GetSpacing() == pytest.approx((0.7, 0.9, 2.5))
    assert main(["predict", str(tmp_path / "scan.v1"), "--modality", "xray", "-o", "as_xray.nrrd", "--json"]) == 0
    assert not any("CT" in warning for warning in strict_json(capsys.readouterr().out)["warnings"])


def test_predict_for_people_says_how_the_prompt_was_read(chest, capsys):
    assert main(["predict", str(chest), "--prompt", "bilateral infection, lower left lung", "-o", "mine.nrrd"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("mine.nrrd: ")
    assert output.out.endswith("read as: Unilateral pulmonary infection, one infected area, lower left lung.\n")
    assert "says bilateral but names one lung" in output.err
    assert Path("mine.nrrd").is_file()


def test_predict_without_a_prompt_segments_without_text(chest, capsys):
    assert main(["predict", str(chest), "--json"]) == 0
    report = strict_json(capsys.readouterr().out)
    assert (report["finding"], report["canonical"], report["warnings"]) == (None, "", [])


def test_predict_of_a_denial_gives_an_empty_mask(chest, capsys):
    assert main(["predict", str(chest), "--prompt", "No pulmonary infection", "--json"]) == 0
    report = strict_json(capsys.readouterr().out)
    assert report["pixels"] == 0 and report["finding"]["absent"] and report["warnings"]
    assert sitk.GetArrayFromImage(sitk.ReadImage("chest_mask.nii.gz")).sum() == 0


def test_the_picture_side_of_a_prompt_is_the_patients_other_side(chest, capsys):
    assert main(["predict", str(chest), "--prompt", PROMPT, "--laterality", "picture", "--json"]) == 0
    finding = strict_json(capsys.readouterr().out)["finding"]
    assert (finding["left"], finding["right"]) == (["upper"], ["lower"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.png",), "There is no picture gone.png"),
        (("CHEST", "--prompt", "tumour of the breast"), "The models do not know tumour, breast; they"),
        (("CHEST", "--model", "unet"), "There is no model 'unet'"),
        (("CHEST", "-o", "mask.png"), "A mask is written as .nrrd"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(chest, capsys, arguments, message):
    assert main(["predict", *(str(chest) if word == "CHEST" else word for word in arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith(f"textseg: {message}")
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(WITHOUT_WEIGHTS is None, reason="every model has weights")
def test_a_model_without_weights_ends_with_3_and_says_how_to_train_it(chest, drawn_set, capsys):
    for command in (["predict", str(chest)], ["evaluate", "--data", str(drawn_set)]):
        assert main([*command, "--model", WITHOUT_WEIGHTS]) == 3
        output = capsys.readouterr()
        assert output.out == "" and f"textseg train {WITHOUT_WEIGHTS}" in output.err


def test_weights_that_are_not_there_end_with_3(chest, capsys):
    for prompt in ("", PROMPT):
        assert main(["predict", str(chest), "--weights", "gone.safetensors", "--prompt", prompt]) == 3
        assert "no weights file gone.safetensors" in capsys.readouterr().err


def test_a_mask_that_cannot_be_written_ends_with_1(chest, capsys):
    Path("mask.nrrd").mkdir()
    assert main(["predict", str(chest), "-o", "mask.nrrd"]) == 1
    assert capsys.readouterr().err.startswith("textseg: failed: ")


def test_the_picture_itself_is_never_overwritten(tmp_path, capsys):
    sitk.WriteImage(sitk.Image(32, 24, 1, sitk.sitkUInt8), "chest.nii.gz")
    before = Path("chest.nii.gz").read_bytes()
    assert main(["predict", "chest.nii.gz", "-o", "./chest.nii.gz"]) == 2
    assert main(["predict", "chest.nii.gz", "-o", "mask.nrrd", "--overlay", "chest.nii.gz"]) == 2
    assert main(["predict", "chest.nii.gz", "-o", "no/such/folder/mask.nrrd"]) == 2
    told = capsys.readouterr().err
    assert "is the picture itself" in told and "There is no folder no/such/folder" in told
    assert Path("chest.nii.gz").read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["segment"], ["predict"], ["evaluate"], ["train", "c2fvl-compact"]])
def test_a_wrong_command_line_ends_with_2_and_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and capsys.readouterr().err.startswith("usage: textseg")


def test_evaluate_scores_every_text_and_prints_json_alone(drawn_set, tmp_path):
    done = textseg("evaluate", "--data", drawn_set, "--csv", "rows.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = strict_json(done.stdout)
    assert (report["rows"], report["protocol"], report["split"]) == (3, "product", None)
    assert set(report["texts"]) == TEXTS and report["one_side"]["questions"] == 2
    assert all(0 <= score["dice_image"] <= 1 for score in report["texts"].values())
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["phantom_a", "phantom_b", "phantom_c"]
    mean = np.mean([float(row["dice_right"]) for row in rows])
    assert mean == pytest.approx(report["texts"]["right"]["dice_image"])


def test_the_shipped_model_follows_the_words_on_drawn_pictures(drawn_set, capsys):
    assert main(["evaluate", "--data", str(drawn_set), "--json"]) == 0
    report = strict_json(capsys.readouterr().out)
    assert report["texts"]["right"]["dice_image"] > report["mirrored_one_sided"]["dice_image"] + 0.1
    assert report["one_side"]["share"] > 0.7


def test_evaluate_for_people_shows_a_line_for_each_text(drawn_set, capsys):
    assert main(["evaluate", "--data", str(drawn_set), "--split", "train", "--protocol", "paper"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("1 pictures") and lines[1].split()[:2] == ["text", "dice_image"]
    assert {line.split()[0] for line in lines[2:]} == TEXTS | {"one_side:"}  # no one-sided row in this split


def test_evaluate_of_what_is_no_data_set_ends_with_2(tmp_path, capsys):
    assert main(["evaluate", "--data", str(tmp_path)]) == 2
    assert "has no folder images/" in capsys.readouterr().err


def test_train_refuses_bad_input_before_it_reads_data(tmp_path, capsys):
    assert main(["train", "unet", "--data", str(tmp_path)]) == 2
    assert main(["train", "c2fvl", "--data", str(tmp_path), "--epochs", "0"]) == 2
    assert main(["train", "c2fvl", "--data", "gone.zip"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert ["no model 'unet'" in errors[0], "--epochs" in errors[1], "gone.zip" in errors[2]] == [True] * 3
    assert list(tmp_path.iterdir()) == []


def test_read_says_how_a_prompt_is_understood(capsys):
    assert main(["read", "?RLL consolidation, left lung clear", "--json"]) == 0
    reading = strict_json(capsys.readouterr().out)
    assert reading["understood"] is True and reading["warnings"] == []
    assert (reading["right"], reading["left"], reading["absent_left"]) == (["lower"], [], True)
    assert reading["canonical"] == "Unilateral pulmonary infection, one infected area, lower right lung."
    assert main(["read", "RLL consolidation", "--laterality", "picture", "--json"]) == 0
    assert strict_json(capsys.readouterr().out)["left"] == ["lower"]


def test_read_tells_a_refusal_on_stderr_and_by_its_exit_code(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["read", "fracture of the left clavicle"])
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "") and "fracture of the left clavicle" in told.err


def test_read_takes_a_file_with_a_prompt_in_every_line(tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("LLL patch\nfracture\nlungs clear\n", encoding="utf-8")
    assert main(["read", "--file", str(tmp_path / "prompts.txt"), "--json"]) == 0
    readings = [strict_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [reading["understood"] for reading in readings] == [True, False, True]
    assert [reading["absent"] for reading in readings] == [False, False, True]
    assert main(["read", "--file", str(tmp_path / "gone.txt")]) == 2


def test_samples_are_written_and_named(tmp_path, capsys):
    assert main(["samples", "studies"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(paths) == 7 and all(path.exists() for path in paths) and Path("studies/prompts.csv").is_file()
