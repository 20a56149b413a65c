"""Whose side is where: a radiograph that is stored mirrored is refused, not read with its sides changed."""

from pathlib import Path

import numpy as np
import pytest
from test_read import write_dicom

from textseg.errors import PictureError
from textseg.imaging.read import read_picture

PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


def test_rows_towards_the_patients_right_are_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "mirrored.dcm", PIXELS, 12, rows="R")
    with pytest.raises(PictureError, match=r"mirrored\.dcm is stored mirrored .* Export it in standard display"):
        read_picture(path)


@pytest.mark.parametrize("rows", ["L", ""])
def test_standard_or_unsaid_orientation_is_standard_display(tmp_path: Path, rows: str) -> None:
    picture = read_picture(write_dicom(tmp_path / "standard.dcm", PIXELS, 12, rows=rows))
    assert picture.slices[0, 0, 0] < picture.slices[0, 0, -1]
    assert picture.sides_known
