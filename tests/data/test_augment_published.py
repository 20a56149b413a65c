"""Changes as published, one by one: levels of an 8-bit picture, blur along rows, mask and picture turned as one."""

import numpy as np
import pytest

from textseg.data.augment_published import photometric, row_blurred, turned

SIDE = 16
LEVELS = np.arange(256, dtype=np.float32) / 255
RAMP = LEVELS.reshape(SIDE, SIDE)
NUMBERED = np.arange(1, SIDE * SIDE + 1).reshape(SIDE, SIDE)  # every pixel another number, none 0
SPOTS = (np.random.RandomState(1).random_sample((SIDE, SIDE)) < 0.4).astype(np.float32)


def photographed(image: np.ndarray, times: int = 600) -> list[np.ndarray]:
    random = np.random.RandomState(0)
    return [photometric(image, random) for _ in range(times)]


def turns(times: int = 800) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.RandomState(0)
    return [turned(NUMBERED, SPOTS, random) for _ in range(times)]


def as_drawn(image: np.ndarray) -> bool:
    return np.array_equal(image, NUMBERED)


def is_reflection(image: np.ndarray) -> bool:
    return any(np.array_equal(image, np.rot90(NUMBERED[:, ::-1], quarter)) for quarter in range(4))


# -- Brightness and contrast --


def test_brightness_and_contrast_give_levels_of_an_8_bit_picture():
    results = photographed(RAMP)
    assert all(image.dtype == np.float32 and np.isin(image, LEVELS).all() for image in results)


def test_brightness_and_contrast_happen_as_often_as_published():
    same = np.mean([np.array_equal(image, RAMP) for image in photographed(RAMP)])
    dark_moves = np.mean([image[0, 0] > 0 for image in photographed(RAMP)])  # brighter, whatever the contrast
    assert 0.2 < same < 0.3 and 0.2 < dark_moves < 0.3


def test_brightness_and_contrast_keep_to_the_published_range():
    levels = np.array([image[0, 0] for image in photographed(np.full((1, 1), LEVELS[100]))]) * 255
    assert 0.5 * (100 - 32) - 1 <= levels.min() < 42 and 180 < levels.max() <= 1.5 * (100 + 32) + 1


def test_what_brightness_clips_stays_clipped_under_contrast():
    """The picture is 8-bit after each change: white that was clipped is one grey when contrast is taken away."""
    ends = [(image[-1, -10], image[-1, -1]) for image in photographed(RAMP)]  # ten levels apart at first
    assert any(first == last < 0.9 for first, last in ends)


# -- Blur --


def test_blur_does_not_pass_from_row_to_row():
    """Rows of one grey each, very unlike their neighbours, stay as they are."""
    stripes = np.repeat(np.arange(SIDE)[:, None] % 2, SIDE, axis=1).astype(np.float32)
    assert all(np.array_equal(row_blurred(stripes, np.random.RandomState(seed)), stripes) for seed in range(8))


def test_half_of_the_rows_are_blurred_each_by_a_width_of_its_own():
    line = np.zeros((400, 33), dtype=np.float32)
    line[:, 16] = 1
    image = row_blurred(line, np.random.RandomState(0))
    blurred = image[(image != line).any(axis=1)]
    assert 170 < len(blurred) < 230
    assert np.array_equal(blurred, blurred[:, ::-1]) and np.isin(image, LEVELS).all()
    peaks = blurred[:, 16]  # of a Gaussian of sigma 1 and 0.5 pixels: 0.399 and 0.786
    assert 0.395 < peaks.min() < 0.42 and 0.74 < peaks.max() < 0.79
    assert line.sum() == 400  # what was given is not touched


# -- Turns --


def test_every_pixel_of_the_mask_stays_with_its_pixel_of_the_picture():
    of_number = np.append(0, SPOTS.ravel())  # 0: beyond the picture
    for image, mask in turns():
        assert image.shape == mask.shape == (SIDE, SIDE)
        assert np.array_equal(mask, of_number[image])


def test_a_quarter_stays_a_quarter_is_rotated_and_half_is_reflected():
    results = [image for image, _ in turns()]
    still, reflected = (np.mean([of(image) for image in results]) for of in (as_drawn, is_reflection))
    assert still == pytest.approx(0.25, abs=0.06) and reflected == pytest.approx(0.5, abs=0.06)


def test_the_four_reflections_are_equally_likely_and_no_quarter_turn_is_left():
    found = [image for image, _ in turns()]
    shares = [np.mean([np.array_equal(i, np.rot90(NUMBERED[:, ::-1], k)) for i in found]) for k in range(4)]
    quarters = [np.rot90(NUMBERED, quarter) for quarter in (1, 2, 3)]
    assert shares == pytest.approx([0.125] * 4, abs=0.05)
    assert not any(np.array_equal(image, quarter) for image in found for quarter in quarters)
