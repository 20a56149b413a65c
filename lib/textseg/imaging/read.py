"""Picture files in: flat pictures, NIfTI, NRRD, DICOM files and series folders. Everything else is refused by name."""

import os
from pathlib import Path

from textseg.errors import OptionError, PictureError, PictureNotFound
from textseg.imaging.decoded import Decoded, damaged_unless_read
from textseg.imaging.dicom import decode_dicom
from textseg.imaging.flat import decode_flat
from textseg.imaging.grid import View
from textseg.imaging.kinds import DICOM_SUFFIXES, FLAT_SUFFIXES, check_kind, suffix_of
from textseg.imaging.picture import CT, MODALITIES, XRAY, Picture
from textseg.imaging.series import decode_series
from textseg.imaging.volumes import decode_volume
from textseg.imaging.window import window_for

AUTO = "auto"
SAGITTAL = "This is a sagittal (side) view: the patient's left and right cannot be told in it."


def read_picture(path: str | os.PathLike[str], modality: str = AUTO, hint: str = "") -> Picture:
    """Read one picture: a file, or a folder with one DICOM series.

    modality: "xray" or "ct" whatever the file says; "auto": what DICOM says, else `hint` ("" for none), else a volume
    is CT and a single slice an X-ray. Raises PictureNotFound, or PictureError naming the file and the fault.
    """
    path = Path(path)
    asked = "" if check_modality(modality) == AUTO else modality
    decoded = decode(path, asked)
    view = View.of(decoded.axes, decoded.grid.size)
    pixels = view.displayed(decoded.pixels)
    kind = asked or decoded.modality or hint or (CT if len(pixels) > 1 else XRAY)
    own = decoded.window if kind == XRAY else None
    warnings = decoded.warnings
    if not view.has_sides and decoded.sides_known:
        warnings += (SAGITTAL,)
    return Picture(
        pixels=pixels,
        window=own or window_for(pixels, kind),
        grid=decoded.grid,
        view=view,
        modality=kind,
        placed=decoded.placed,
        sides_known=view.has_sides and decoded.sides_known,
        warnings=warnings,
    )


def check_modality(modality: object) -> str:
    """The modality option, checked. Raises OptionError for anything but auto, xray and ct."""
    if modality not in (AUTO, *MODALITIES):
        raise OptionError(f"modality is one of {AUTO}, {', '.join(MODALITIES)}, not {modality!r}.")
    return modality


def decode(path: Path, asked: str = "") -> Decoded:
    """What is in a file or series folder, grey, as it is stored. asked: as in `decode_dicom`. Raises PictureError."""
    if not path.exists():
        raise PictureNotFound(f"There is no picture {path.name}. Refresh the list of pictures, or check the name.")
    if path.is_dir():
        with damaged_unless_read(path.name):
            return decode_series(path, asked)
    check_kind(path)
    if path.stat().st_size == 0:
        raise PictureError(f"{path.name} is empty (zero bytes). Copy or export it again.")
    with damaged_unless_read(path.name):
        if suffix_of(path) in DICOM_SUFFIXES:
            return decode_dicom(path, asked)
        return decode_flat(path) if suffix_of(path) in FLAT_SUFFIXES else decode_volume(path)
