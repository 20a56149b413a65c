"""`textseg batch` as its users see it: masks, overlays and a table for a list of pictures, begun and gone on with."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from textseg.cli import main
from textseg.data.phantoms import draw_radiograph
from textseg.engine import batch as engine
from textseg.engine.predictor import Predictor
from textseg.engine.ready import read_manifest
from textseg.engine.weights import write_manifest
from textseg.registry import DEFAULT_MODEL, MODELS

LEFT, RIGHT = "infection, left lung", "infection, right lower lung"
SPACING = (0.5, 2.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two flat X-rays, one with a spacing, and a volume."""
    folder = tmp_path_factory.mktemp("drawn")
    places = {"left": ("lower",), "right": ("lower",)}
    for number, name in enumerate(("alpha", "bravo")):
        Image.fromarray(draw_radiograph(places, number, 160).image).save(folder / f"{name}.png")
    pixels = draw_radiograph(places, 7, 160).image
    for name, stored, spacing in (
        ("charlie", pixels[None], (*SPACING, 1.0)),
        ("delta", np.stack([pixels] * 3), (1, 2, 5)),
    ):
        image = sitk.GetImageFromArray(stored)
        image.SetSpacing([float(each) for each in spacing])
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return folder


@pytest.fixture
def pictures(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to work in; `prompts` writes the table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return Path(shutil.copytree(drawn, tmp_path / "pictures"))


@pytest.fixture(scope="module")
def shipped(one_thread: None) -> Predictor:
    """The default model, loaded once."""
    return Predictor.load(MODELS[DEFAULT_MODEL])


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, shipped: Predictor) -> dict[str, int]:
    """How many pictures the model was asked."""
    asked, predict = {"pictures": 0}, Predictor.predict

    def load(spec: Any, weights: Path | None = None, **options: Any) -> Predictor:
        return original(spec, weights, **options) if weights else shipped

    def counted(*arguments: Any, **options: Any) -> Any:
        asked["pictures"] += 1
        return predict(*arguments, **options)

    original = Predictor.load
    monkeypatch.setattr(Predictor, "load", load)
    monkeypatch.setattr(Predictor, "predict", counted)
    return asked


def prompts(folder: Path, *rows: str) -> Path:
    path = folder / "prompts.csv"
    path.write_text("\n".join(("Image;Description", *rows)) + "\n", encoding="utf-8-sig")
    return path


def run(folder: Path, *options: object) -> int:
    return main(["batch", "--prompts", str(folder / "prompts.csv"), "--output", "out", *map(str, options)])


def rows_of(output: Path = Path("out")) -> dict[str, dict[str, str]]:
    with (output / "table.csv").open(newline="", encoding="utf-8") as file:
        return {row["picture"]: row for row in csv.DictReader(file)}


def pixels_of(picture: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(f"out/masks/{picture}.nii.gz"))


def test_masks_overlays_and_a_table_are_made_of_a_list(pictures: Path, loaded: dict, capsys: Any) -> None:
    prompts(pictures, f"alpha.png;{LEFT}", f"charlie;{RIGHT}", "delta.nii.gz;No pulmonary infection", "bravo;")
    assert run(pictures) == 0
    assert capsys.readouterr().out == "out/table.csv: 4 rows: 4 made, 0 as they were, 0 not done\n"
    rows = rows_of()
    assert list(rows) == ["alpha.png", "charlie", "delta.nii.gz", "bravo"]
    assert rows["alpha.png"]["prompt"] == LEFT
    assert rows["alpha.png"]["read_as"] == "Unilateral pulmonary infection, one infected area, all left lung."
    assert (rows["bravo"]["read_as"], rows["alpha.png"]["model"]) == ("no prompt", DEFAULT_MODEL)
    assert rows["alpha.png"]["version"] == "v0000" and "mask is empty" in rows["delta.nii.gz"]["warnings"]
    for name, picture in (("alpha.png", "alpha"), ("charlie", "charlie"), ("delta.nii.gz", "delta")):
        row, mask = rows[name], sitk.ReadImage(f"out/masks/{picture}.nii.gz")
        source = sitk.ReadImage(str(next(pictures.glob(f"{picture}.*"))))
        assert mask.GetSize()[:2] == source.GetSize()[:2] and mask.GetSpacing()[:2] == source.GetSpacing()[:2]
        assert int(row["pixels"]) == pixels_of(picture).sum()
        assert Path("out", row["mask"]).is_file() and Image.open(Path("out", row["overlay"])).mode == "RGB"
    assert pixels_of("alpha")[0, :, :80].sum() < pixels_of("alpha")[0, :, 80:].sum()  # the patient's left
    charlie = rows["charlie"]
    assert float(charlie["cm2"]) == pytest.approx(int(charlie["pixels"]) * 1.0 / 100, abs=0.01) and not charlie["ml"]
    assert (rows["delta.nii.gz"]["ml"], rows["delta.nii.gz"]["cm2"], rows["alpha.png"]["cm2"]) == ("0.0", "", "")
    assert Path("out/masks/alpha.nii.gz").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_bad_row_is_told_and_stops_nothing(pictures: Path, loaded: dict, capsys: Any) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    faults = {
        "alpha": (f"alpha;{LEFT}", ""),
        "alfa.png": (f"alfa.png;{LEFT}", "line 3: There is no picture alfa.png"),
        "bravo": ("bravo;fracture of the clavicle", "line 4: "),
        "broken.png": (f"broken.png;{LEFT}", "line 5: broken.png cannot be read"),
        "charlie": (f"charlie;{LEFT}", "lines 6 and 7: charlie is named twice"),
        "charlie.nii.gz": (f"charlie.nii.gz;{RIGHT}", "lines 6 and 7: charlie is named twice"),
        "../pictures/delta": (f"../pictures/delta;{LEFT}", "line 8: "),
        "": (f";{LEFT}", "line 9 names no picture"),
        "delta": (f"delta;{LEFT};left", "line 10 has more cells"),
        "alpha.jpg.png": (f"alpha.jpg.png;{LEFT}", "line 11: There is no picture alpha.jpg.png"),
    }
    prompts(pictures, *(row for row, _ in faults.values()))
    assert run(pictures) == 1
    told, rows = capsys.readouterr(), rows_of()
    assert told.out.endswith("10 rows: 1 made, 0 as they were, 9 not done\n")
    assert told.err.endswith("textseg: 9 of 10 rows have no mask; the column `fault` says why.\n")
    for name, (_, fault) in faults.items():
        assert rows[name]["fault"].startswith(fault) and bool(rows[name]["fault"]) == bool(fault)
        assert bool(rows[name]["mask"]) != bool(fault) and rows[name]["fault"] in told.err
    assert "Did you mean alpha?" in rows["alfa.png"]["fault"]
    assert "fracture of the clavicle" in rows["bravo"]["fault"] and "not a path" in rows["../pictures/delta"]["fault"]
    assert [path.name for path in Path("out/masks").iterdir()] == ["alpha.nii.gz"]


def test_called_again_it_makes_what_changed_and_nothing_else(pictures: Path, loaded: dict, capsys: Any) -> None:
    table = prompts(pictures, f"alpha;{LEFT}", f"bravo;{LEFT}")
    assert run(pictures) == 0 and loaded["pictures"] == 2
    before = pixels_of("alpha")
    assert run(pictures, "--json") == 0 and loaded["pictures"] == 2
    report = json.loads(capsys.readouterr().out.split("not done\n")[1])
    assert (report["made"], report["kept"], report["failed"], len(report["rows"])) == (0, 2, 0, 2)
    assert report["rows"][0]["pixels"] == before.sum() and report["rows"][0]["mask"] == "masks/alpha.nii.gz"
    prompts(pictures, f"alpha;{RIGHT}", f"bravo;{LEFT}", f"charlie;{LEFT}")
    assert run(pictures) == 0 and loaded["pictures"] == 4
    assert (pixels_of("alpha") != before).any() and rows_of()["alpha"]["prompt"] == RIGHT
    Path("out/masks/bravo.nii.gz").unlink()
    assert run(pictures) == 0 and loaded["pictures"] == 5
    Path("out/overlays/bravo.png").unlink()
    assert run(pictures) == 0 and loaded["pictures"] == 6 and Path("out/overlays/bravo.png").is_file()
    shutil.copy(pictures / "bravo.png", pictures / "alpha.png")  # another picture of that name
    os.utime(pictures / "alpha.png", ns=(1, 1))
    assert run(pictures) == 0 and loaded["pictures"] == 7
    table.write_text(
        table.read_text(encoding="utf-8-sig").replace("Image;", "Image;laterality;").replace(";inf", ";picture;inf")
    )
    assert run(pictures) == 0 and loaded["pictures"] == 10
    assert "all right lung" in rows_of()["bravo"]["read_as"]


def test_other_weights_make_every_mask_anew(pictures: Path, loaded: dict, tmp_path: Path) -> None:
    prompts(pictures, f"alpha;{LEFT}")
    own = tmp_path / f"{DEFAULT_MODEL}.safetensors"
    shipped = MODELS[DEFAULT_MODEL].weights_path
    shutil.copy(shipped, own)
    write_manifest(own, {**read_manifest(shipped), "version": "v0007", "threshold": 0.9999})
    assert run(pictures) == 0 and run(pictures, "--weights", own) == 0
    assert loaded["pictures"] == 2 and rows_of()["alpha"]["version"] == "v0007"
    assert run(pictures, "--weights", own) == 0 and loaded["pictures"] == 2


def test_a_mask_that_somebody_corrected_is_never_replaced(pictures: Path, loaded: dict, capsys: Any) -> None:
    prompts(pictures, f"alpha;{LEFT}")
    assert run(pictures) == 0
    corrected = sitk.ReadImage("out/masks/alpha.nii.gz") * 0
    sitk.WriteImage(corrected, "out/masks/alpha.nii.gz")
    assert run(pictures) == 0 and loaded["pictures"] == 1
    prompts(pictures, f"alpha;{RIGHT}")
    assert run(pictures) == 1 and loaded["pictures"] == 1
    assert "was changed by somebody since it was made" in rows_of()["alpha"]["fault"]
    assert pixels_of("alpha").sum() == 0
    Path("out/masks/alpha.nii.gz").unlink()
    assert run(pictures) == 0 and pixels_of("alpha").sum() > 0


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_broken_off_anywhere_it_goes_on_from_there(
    pictures: Path, loaded: dict, monkeypatch: pytest.MonkeyPatch, capsys: Any, writes: int
) -> None:
    prompts(pictures, f"alpha;{LEFT}", f"bravo;{LEFT}")
    assert run(pictures) == 0
    prompts(pictures, f"alpha;{RIGHT}", f"bravo;{RIGHT}")
    replace, left = Path.replace, [writes]

    def broken(path: Path, target: Path) -> Path:
        if "out/" in str(target) and Path(target).parent.name in (engine.MASKS, engine.OVERLAYS):
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as stopped:
        patched.setattr(Path, "replace", broken)
        run(pictures)
    assert stopped.value.code == 130 and "goes on from there" in capsys.readouterr().err
    assert "alpha" in rows_of()
    assert run(pictures) == 0
    once = {name: pixels_of(name) for name in ("alpha", "bravo")}
    shutil.rmtree("out")
    assert run(pictures) == 0
    assert all(np.array_equal(once[name], pixels_of(name)) for name in once)
    assert list(Path("out/.unfinished").iterdir()) == []


def test_a_full_disk_ends_it_with_a_sentence(pictures: Path, loaded: dict, monkeypatch: Any, capsys: Any) -> None:
    prompts(pictures, f"alpha;{LEFT}", f"bravo;{LEFT}")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "write_mask", full)
        assert run(pictures) == 1
    assert "could not keep the mask (No space left on device)" in capsys.readouterr().err
    assert loaded["pictures"] == 1 and run(pictures) == 0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--prompts", "gone.csv"), 2, "There is no table gone.csv"),
        (("--prompts", "empty.csv"), 2, "has no rows"),
        (("--prompts", "other.csv"), 2, "has no column `prompt`"),
        (("--images", "gone"), 2, "There is no folder gone"),
        (("--model", "unet"), 2, "no model 'unet'"),
        (("--weights", "gone.safetensors"), 3, "no weights file"),
        (("--output", "mine"), 2, "that textseg batch did not make"),
    ],
)
def test_what_cannot_begin_is_said_in_words(
    pictures: Path, capsys: Any, loaded: dict, options: tuple[str, ...], code: int, said: str
) -> None:
    prompts(pictures, f"alpha;{LEFT}")
    Path("empty.csv").write_text("image,prompt\n\n")
    Path("other.csv").write_text("image,words\na,b\n")
    Path("mine/masks").mkdir(parents=True)
    defaults = {"--prompts": "pictures/prompts.csv", "--output": "out", options[0]: options[1]}
    assert main(["batch", *(word for pair in defaults.items() for word in pair)]) == code
    output = capsys.readouterr()
    assert output.out == "" and said in output.err
    assert list(Path("mine").rglob("*.*")) == [] or options[0] == "--output"


def test_pictures_of_a_data_set_lie_in_images(pictures: Path, loaded: dict) -> None:
    shutil.copytree(pictures, "set/images")
    prompts(Path("set"), f"alpha.png;{LEFT}", f"bravo.jpg;{LEFT}")
    assert run(Path("set")) == 0
    assert rows_of()["bravo.jpg"]["warnings"].startswith("The table names bravo.jpg; bravo.png was used.")
