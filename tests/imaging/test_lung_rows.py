"""Where the lungs of a chest X-ray begin and end: near where they are drawn, and always an answer."""

import numpy as np
import pytest

from textseg.data.phantoms import draw_radiograph
from textseg.imaging.lung_rows import lung_rows

HEALTHY = [draw_radiograph({}, seed, 128).image / 255 for seed in range(5)]
OPAQUE = np.full((96, 80), 0.7)


def test_drawn_lungs_are_found_where_they_are_drawn():
    for image in HEALTHY:
        top, bottom = lung_rows(image)  # drawn from 0.12-0.17 to 0.79-0.91, the domes included
        assert 0.09 <= top <= 0.20
        assert 0.74 <= bottom <= 0.95


def test_size_and_brightness_change_little():
    for image in HEALTHY:
        told = lung_rows(image)
        assert lung_rows(np.kron(image, np.ones((3, 3)))) == pytest.approx(told, abs=0.03)
        assert lung_rows(image * 0.6 + 0.2) == pytest.approx(told, abs=0.01)


def test_lungs_that_lie_lower_are_found_lower():
    for image in HEALTHY:
        lowered = np.vstack([np.repeat(image[:1], 8, axis=0), image[:-8]])  # by a sixteenth of the height
        (top, bottom), (lower_top, lower_bottom) = lung_rows(image), lung_rows(lowered)
        assert lower_top == pytest.approx(top + 0.0625, abs=0.02)
        assert bottom + 0.02 < lower_bottom < bottom + 0.0825


def test_without_dark_lungs_they_end_at_the_diaphragm():
    ends = []
    for row in (60, 70, 80):
        image = np.tile(np.linspace(0.2, 0.4, 112)[:, None], (1, 112))
        image[row:] += 0.5
        ends.append(lung_rows(image)[1])
    assert ends == sorted(ends) and ends[0] < ends[-1] - 0.05


@pytest.mark.parametrize("image", [OPAQUE, OPAQUE * 0, np.ones((1, 1)), np.random.default_rng(0).random((50, 200))])
def test_a_picture_without_lungs_still_gets_rows_in_order(image):
    top, bottom = lung_rows(image)
    assert 0 <= top < bottom - 0.2 and bottom <= 1.05
