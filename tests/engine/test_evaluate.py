"""Scores beside the right text: a stand-in model that marks exactly what it is told gives figures known beforehand."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from textseg.data.phantoms import draw_radiograph
from textseg.data.records import Record, read_records
from textseg.engine.evaluate import TEXTS, evaluate
from textseg.engine.metrics import Overlap
from textseg.engine.predictor import BATCH, Predictor
from textseg.engine.texts import Said
from textseg.errors import DataError
from textseg.imaging.preprocess import to_display, to_network
from textseg.registry import MODELS
from textseg.text.finding import ZONES, Finding
from textseg.text.sentence import canonical

SIZE = 24
WHERE = {  # name -> patient sides; two rows of two sides, two of one, all different
    "alpha": Finding(left=("lower",), right=("upper",), count=2),
    "bravo": Finding(left=("upper", "middle"), right=("middle",), count=2),
    "charlie": Finding(left=("middle",), count=1),
    "delta": Finding(right=("lower",), count=1),
}


def boxes(finding: Finding | None, size: int = SIZE) -> np.ndarray:
    """One box per zone named, on the half of the picture where that patient side is shown; nothing without text."""
    mask = np.zeros((size, size), bool)
    third, half = size // 3, size // 2
    for side, first in (("right", 0), ("left", half)):
        for zone in getattr(finding, side, ()):
            row = ZONES.index(zone) * third
            mask[row + 1 : row + third - 1, first + 2 : first + half - 2] = True
    return mask


@dataclass
class ObedientPredictor:
    """Marks the boxes that it is told and never looks at the picture; remembers what it was told."""

    input_size: int = SIZE

    def __post_init__(self) -> None:
        self.spec = SimpleNamespace(name="obedient", input_size=self.input_size)
        self.told: list[Finding | None] = []

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        assert inputs.shape == (1, 3, self.input_size, self.input_size)
        return inputs

    def probabilities(self, features: torch.Tensor, said: Said) -> torch.Tensor:
        self.told.append(said.finding)
        return torch.from_numpy(boxes(said.finding, self.input_size)).float()[None, None]

    def threshold_masks(self, probabilities: torch.Tensor, height: int, width: int) -> np.ndarray:
        return (to_display(probabilities, height, width) > 0.5).astype(np.uint8)


def write_set(folder: Path, where: dict[str, Finding], size: int = SIZE) -> list[Record]:
    """Pictures and masks of the findings, each with its sentence in patient sides."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = ["image,prompt"]
    for name, finding in where.items():
        mask = boxes(finding, size)
        Image.fromarray(np.where(mask, 200, 60).astype(np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
        rows.append(f'{name}.png,"{canonical(finding)}"')
    (folder / "prompts.csv").write_text("\n".join(rows), encoding="utf-8")
    return read_records(folder)


@pytest.fixture
def records(tmp_path) -> list[Record]:
    return write_set(tmp_path / "set", WHERE)


def test_the_right_text_gives_the_right_mask(records):
    report = evaluate(ObedientPredictor(), records).report(paper=False)
    assert report["rows"] == 4
    right = report["texts"]["right"]
    assert [right[key] for key in ("dice_image", "iou_image", "dice_micro", "iou_micro")] == [1, 1, 1, 1]


def test_no_text_is_asked_without_words(records):
    predictor = ObedientPredictor()
    report = evaluate(predictor, records).report(paper=False)
    assert report["texts"]["none"]["dice_image"] == 0
    assert predictor.told.count(None) == len(records)


def test_mirrored_text_finds_nothing_of_a_one_sided_row(records):
    scores = evaluate(ObedientPredictor(), records)
    report = scores.report(paper=False)
    assert report["mirrored_one_sided"]["images"] == 2 and report["mirrored_one_sided"]["dice_image"] == 0
    mirrored = {row["image"]: row["dice_mirrored"] for row in scores.rows}
    # bravo: left upper and middle, right middle. Mirrored, two of its three boxes still meet.
    assert mirrored == pytest.approx({"alpha": 0, "bravo": 2 / 3, "charlie": 0, "delta": 0})


def test_one_side_asked_is_marked_on_that_side_alone(records):
    scores = evaluate(ObedientPredictor(), records)
    assert scores.report(paper=False)["one_side"] == {"questions": 4, "share": 1.0, "dice_image": 1.0}
    shares = {row["image"]: (row.get("share_left"), row.get("share_right")) for row in scores.rows}
    assert shares == {"alpha": (1, 1), "bravo": (1, 1), "charlie": (None, None), "delta": (None, None)}


def test_one_side_is_asked_without_a_count(records):
    predictor = ObedientPredictor()
    evaluate(predictor, records)
    asked = [finding for finding in predictor.told if finding is not None and finding.count is None]
    assert asked == [
        Finding(left=("lower",)),
        Finding(right=("upper",)),
        Finding(left=("upper", "middle")),
        Finding(right=("middle",)),
    ]


def test_a_model_that_does_not_listen_gets_half_the_share(records):
    class Deaf(ObedientPredictor):
        def probabilities(self, features, said):
            return torch.ones(1, 1, SIZE, SIZE)

    report = evaluate(Deaf(), records).report(paper=False)
    assert report["one_side"]["share"] == pytest.approx(0.5)
    dices = {text: score["dice_image"] for text, score in report["texts"].items()}
    assert len(set(dices.values())) == 1 and set(dices) == set(TEXTS)


def test_a_mask_that_stays_empty_has_no_share(records):
    class Mute(ObedientPredictor):
        def probabilities(self, features, said):
            return torch.zeros(1, 1, SIZE, SIZE)

    report = evaluate(Mute(), records).report(paper=False)
    assert report["one_side"] == {"questions": 4, "share": 0.0, "dice_image": 0.0}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_shuffled_text_is_never_the_rows_own(records, count, seed):
    predictor = ObedientPredictor()
    scores = evaluate(predictor, records[:count], seed)
    assert all(row["dice_shuffled"] < 1 for row in scores.rows)
    told = [finding for finding in predictor.told if finding in [record.finding for record in records]]
    assert all(told.count(record.finding) == 2 for record in records[:count])  # as the right text, and as another's


def test_the_seed_decides_who_gets_whose_sentence(records):
    def shuffled(seed: int) -> list[float]:
        return [row["dice_shuffled"] for row in evaluate(ObedientPredictor(), records, seed).rows]

    assert shuffled(3) == shuffled(3)
    assert len({tuple(shuffled(seed)) for seed in range(8)}) > 1


def test_every_picture_has_its_row(records):
    rows = evaluate(ObedientPredictor(), records).rows
    assert [row["image"] for row in rows] == list(WHERE)
    assert [row["prompt"] for row in rows] == [canonical(finding) for finding in WHERE.values()]
    assert all({f"{score}_{text}" for score in ("dice", "iou") for text in TEXTS} <= set(row) for row in rows)


def test_figures_worked_out_by_hand(tmp_path):
    records = write_set(tmp_path / "set", {"alpha": WHERE["alpha"], "charlie": WHERE["charlie"]})
    report = evaluate(ObedientPredictor(), records).report(paper=False)
    # A box has 6 x 8 = 48 pixels. Each gets the other's sentence, and no boxes meet. Nothing is marked without text.
    shuffled = report["texts"]["shuffled"]
    assert (shuffled["dice_image"], shuffled["dice_micro"], shuffled["images"]) == (0, 0, 2)
    records = write_set(tmp_path / "other", {"alpha": WHERE["alpha"], "lower": Finding(left=("lower",), count=1)})
    shuffled = evaluate(ObedientPredictor(), records).report(paper=False)["texts"]["shuffled"]
    # alpha: 1 of its 2 boxes found; lower: its box found and another marked. 2 * 48 / (48 + 96) both times.
    assert shuffled["dice_image"] == shuffled["dice_micro"] == pytest.approx(2 / 3)
    assert shuffled["iou_image"] == shuffled["iou_micro"] == pytest.approx(1 / 2)


def test_rows_without_a_sentence_are_scored_without_text(tmp_path):
    write_set(tmp_path / "set", WHERE)
    (tmp_path / "set" / "prompts.csv").unlink()
    predictor = ObedientPredictor()
    report = evaluate(predictor, read_records(tmp_path / "set")).report(paper=False)
    assert set(predictor.told) == {None}
    assert (report["mirrored_one_sided"], report["one_side"]) == (
        None,
        {"questions": 0, "share": None, "dice_image": None},
    )
    json.dumps(report, allow_nan=False)  # JSON knows no NaN


def test_scores_are_taken_on_the_pictures_own_pixels_or_by_the_papers_protocol(tmp_path):
    records = write_set(tmp_path / "set", WHERE, size=3 * SIZE)
    product = evaluate(ObedientPredictor(), records)
    paper = evaluate(ObedientPredictor(), records, paper=True)
    # A box is 22 x 32 of the picture's pixels. The model marks 6 x 8 of its own, 18 x 24 of them without the corners.
    assert [overlap.reference for overlap in product.overlaps["right"]] == [704 * n for n in (2, 3, 1, 1)]
    assert product.report(paper=False)["texts"]["right"]["dice_image"] == pytest.approx(2 * 428 / (428 + 704))
    # At the network's size every pixel that the reference touches is foreground: 8 x 12 for a box.
    assert [overlap.reference for overlap in paper.overlaps["right"]] == [96 * n for n in (2, 3, 1, 1)]
    assert paper.report(paper=True)["texts"]["right"]["dice_image"] == pytest.approx(2 * 48 / (48 + 96), abs=1e-6)


def test_both_empty_is_right_by_default_and_zero_by_the_papers_protocol(tmp_path):
    records = write_set(tmp_path / "set", {"healthy": Finding(absent=True), "delta": WHERE["delta"]})
    for paper, dice in ((False, 1.0), (True, 0.5)):
        right = evaluate(ObedientPredictor(), records, paper=paper).report(paper)["texts"]["right"]
        assert right["dice_image"] == pytest.approx(dice, abs=1e-5) and right["both_empty"] == 1


def test_a_mask_of_another_size_is_refused(tmp_path):
    records = write_set(tmp_path / "set", WHERE)
    Image.fromarray(np.zeros((SIZE, SIZE + 1), np.uint8)).save(records[1].mask)
    with pytest.raises(DataError, match=r"bravo\.png does not lie on its picture"):
        evaluate(ObedientPredictor(), records)


def write_volume(folder: Path, count: int) -> list[Record]:
    """A drawn volume with infection in both lungs of every other slice, and its mask."""
    drawn = [draw_radiograph({"left": ("lower",), "right": ("upper",)}, seed, 96) for seed in range(count)]
    masks = np.stack([each.mask * (number % 2) for number, each in enumerate(drawn)])
    for part, pixels in (("images", np.stack([each.image for each in drawn])), ("masks", masks)):
        (folder / part).mkdir(parents=True)
        sitk.WriteImage(sitk.GetImageFromArray(pixels.astype(np.int16)), str(folder / part / "volume.nii.gz"))
    (folder / "prompts.csv").write_text(f'image,prompt\nvolume.nii.gz,"{canonical(drawn[0].finding)}"\n')
    return read_records(folder)


def test_a_volume_is_encoded_part_by_part_with_the_scores_of_the_whole(tmp_path, monkeypatch):
    records, lengths = write_volume(tmp_path, 20), []
    predictor = Predictor.load(MODELS["c2fvl-compact"])
    picture, reference = records[0].load()
    whole = predictor.encode(to_network(picture.slices, predictor.spec.input_size))

    def counted(inputs: torch.Tensor) -> list[torch.Tensor]:
        lengths.append(len(inputs))
        return Predictor.encode(predictor, inputs)

    monkeypatch.setattr(predictor, "encode", counted)
    (row,) = evaluate(predictor, records).rows
    assert sum(lengths) == 20 and max(lengths) <= BATCH
    for text, said in {"right": Said(records[0].finding, records[0].bilateral), "none": Said()}.items():
        masks = predictor.threshold_masks(predictor.probabilities(whole, said), *reference.shape[-2:]) > 0
        assert masks.any() and row[f"dice_{text}"] == pytest.approx(Overlap.of(masks, reference).dice(), abs=1e-6)
    assert 0 < row["share_left"] <= 1 and 0 < row["share_right"] <= 1
