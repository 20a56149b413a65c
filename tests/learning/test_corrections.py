"""Labels become corrections: one for every segment, with its words or words from the mask; what is odd is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from corrected import labelled
from PIL import Image

from textseg.data.augment import Augment, AugmentSettings, Sample
from textseg.data.dicom_files import drawn_dicom
from textseg.data.phantoms import draw_ct_slice
from textseg.data.store.labels import LabelledSegment
from textseg.engine.samples import load_samples
from textseg.learning.corrections import EMPTY, FILLED, Correction, Labelled, chosen_slices, gather

LEFT_AND_RIGHT = 0  # what is drawn in picture 0: the left lower and the right upper zone


def in_halves(label: Path) -> np.ndarray:
    """A label's one segment becomes two, the right lung's 1 and the left one's 2; returns what is stored now."""
    mask = np.array(Image.open(label))
    halves = np.where(np.arange(mask.shape[1]) < mask.shape[1] // 2, mask, 2 * mask).astype(np.uint8)
    Image.fromarray(halves).save(label)
    return halves


def test_every_segment_is_a_correction_of_its_own(tmp_path):
    one = labelled(tmp_path, LEFT_AND_RIGHT)
    halves = in_halves(one.label)
    segments = (
        LabelledSegment((1,), ("a",), "segment name", "infection, right lung"),
        LabelledSegment((2,), ("b",), "segment name", "LLL pneumonia"),
    )
    found = gather([replace(one, segments=segments)], "c2fvl-compact").usable
    masks = [correction.record.load()[1] for correction in found]
    assert [masks[0][0].sum(), masks[1][0].sum()] == [(halves == 1).sum(), (halves == 2).sum()]
    assert found[0].record.finding.right and not found[0].record.finding.left
    assert found[1].record.finding.left == ("lower",) and not found[1].from_mask


def asked_for_the_other_lung(found: list[Correction]) -> list[bool]:
    """Whether training would ask each for its other lung, and want an empty mask."""
    samples = load_samples([each.record for each in found], 224)
    asked = Augment(AugmentSettings(flip=0, rotate=0, healthy=1), 224).set_random_state(1)
    return [sample.mask.any() and not asked(unit(sample)).mask.any() for sample in samples]


def unit(sample: Sample) -> Sample:
    """As a training draws it."""
    return replace(sample, image=sample.image.astype(np.float32) / 255, mask=sample.mask.astype(np.float32))


def test_a_lung_in_which_another_segment_lies_is_never_taught_to_be_healthy(tmp_path):
    one = labelled(tmp_path, LEFT_AND_RIGHT)
    in_halves(one.label)
    segments = (
        LabelledSegment((1,), ("a",), "segment name", "unilateral infection, right lung"),
        LabelledSegment((2,), ("b",), "segment name", "left lower lobe pneumonia, right lung clear"),
    )
    found = gather([replace(one, segments=segments)], "c2fvl-compact").usable
    assert asked_for_the_other_lung(found) == [False, False]


@pytest.mark.parametrize(
    ("prompt", "known"),
    [
        ("LLL pneumonia", False),
        ("LLL pneumonia, right lung clear", True),
        ("Unilateral pulmonary infection, one infected area, lower left lung", True),
    ],
)
def test_only_what_the_words_say_is_healthy_is_taught_to_be(tmp_path, prompt, known):
    one = labelled(tmp_path, LEFT_AND_RIGHT, prompt=prompt)
    mask = np.array(Image.open(one.label))
    mask[:, : mask.shape[1] // 2] = 0
    Image.fromarray(mask).save(one.label)
    assert asked_for_the_other_lung(gather([one], "c2fvl-compact").usable) == [known]


def lateral(folder: Path, prompt: str) -> Labelled:
    """A view in which left and right mean nothing."""
    pixels = np.random.default_rng(1).integers(0, 4000, (64, 64)).astype(np.uint16)
    data = drawn_dicom(pixels, "x", "CR", "x", 12, ViewPosition="LL")
    data.save_as(str(folder / "x.dcm"), write_like_original=False)
    mask = np.zeros((64, 64), np.uint8)
    mask[40:50, 5:20] = 1
    Image.fromarray(mask).save(folder / "x_label.png")
    segment = LabelledSegment((1,), ("infection",), "run", prompt)
    return Labelled("x", folder / "x.dcm", folder / "x_label.png", (segment,), "0" * 64)


def test_sides_that_mean_nothing_in_a_view_are_not_learnt(tmp_path):
    (found,) = gather([lateral(tmp_path, "left lower lobe pneumonia")], "c2fvl-compact").usable
    assert found.record.finding is None and found.record.load()[1].any()
    by_words = gather([lateral(tmp_path, "polyp, left")], "tgcam-compact", spoken="patient")
    assert not by_words.usable and "left and right mean nothing in this view" in by_words.left_out[0]


def test_a_segment_without_a_prompt_gets_words_from_its_mask(tmp_path):
    (found,) = gather([labelled(tmp_path, LEFT_AND_RIGHT, prompt="")], "c2fvl-compact").usable
    assert found.from_mask
    assert (found.record.finding.left, found.record.finding.right) == (("lower",), ("upper",))
    assert found.record.finding.count == 2 and "lower left" not in found.record.prompt.split("and")[-1]


def test_what_was_looked_for_and_not_found_is_an_empty_mask(tmp_path):
    one = labelled(tmp_path, LEFT_AND_RIGHT)
    (found,) = gather([replace(one, segments=(replace(one.segments[0], values=()),))], "m").usable
    assert not found.record.load()[1].any() and found.record.finding.two_sided


@pytest.mark.parametrize(
    ("prompt", "said"), [("infection, right lung", "right"), ("No infection", "denies"), ("xyzzy", "")]
)
def test_what_cannot_be_learnt_is_named_and_costs_the_others_nothing(tmp_path, prompt, said):
    found = gather([labelled(tmp_path, 1), labelled(tmp_path, 3, prompt=prompt), labelled(tmp_path, 4)], "m")
    assert [each.record.name for each in found.usable] == ["p1", "p4"]
    (sentence,) = found.left_out
    assert sentence.startswith("p3: ") and said in sentence
    assert found.told() == "2 corrections; 1 left out"


def test_a_model_that_reads_words_as_they_stand_gets_them_and_no_others(tmp_path):
    given = [labelled(tmp_path, 1, prompt="polyp, left"), labelled(tmp_path, 2, prompt="")]
    found = gather(given, "tgcam-compact", spoken="patient")
    assert [each.record.words for each in found.usable] == ["polyp, left"]
    assert found.left_out[0].startswith("p2: It has no prompt, and tgcam-compact reads words as they stand")


def volume(folder: Path, slices: int, filled: range) -> Labelled:
    """A CT volume with the left lung marked in some slices."""
    drawn = [draw_ct_slice(("left",), 0.5, seed=number, size=64) for number in range(slices)]
    masks = np.stack([mask if number in filled else 0 * mask for number, (_, mask) in enumerate(drawn)])
    image, label = folder / "v.nii.gz", folder / "v_label.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([values for values, _ in drawn])), str(image))
    sitk.WriteImage(sitk.GetImageFromArray(masks), str(label))
    return Labelled("v", image, label, (LabelledSegment((1,), ("infection",), "run", "infection"),), "0" * 64)


def test_of_a_volume_what_shows_something_is_learnt_and_some_of_the_rest(tmp_path):
    (found,) = gather([volume(tmp_path, 40, range(10, 34))], "m").usable
    picture, masks = found.record.load()
    filled = masks.any(axis=(1, 2))
    assert (filled.sum(), (~filled).sum()) == (FILLED, EMPTY) and len(picture.pixels) == len(masks)
    samples = load_samples([found.record], 32)
    assert len(samples) == FILLED + EMPTY and [bool(each.mask.any()) for each in samples] == filled.tolist()


@pytest.mark.parametrize(("filled", "empty", "expected"), [(3, 2, 5), (0, 40, FILLED), (40, 0, FILLED), (1, 1, 2)])
def test_how_many_slices_are_chosen(filled, empty, expected):
    masks = np.zeros((filled + empty, 4, 4), bool)
    masks[:filled] = True
    assert len(chosen_slices(masks)) == expected


def test_a_flat_picture_is_meant_whole():
    assert chosen_slices(np.ones((1, 4, 4), bool)) == ()
