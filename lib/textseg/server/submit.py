"""A label at the door: checked, laid on its picture's grid, joined with its prompts, ready to be kept."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from textseg.data.joined import Joined, Known, join, names_of, told
from textseg.data.store.durable import told_of_failure
from textseg.errors import DataError, StoreError
from textseg.imaging.kinds import suffix_of
from textseg.imaging.labels import read_label
from textseg.imaging.picture import Picture
from textseg.imaging.write import write_label
from textseg.server.temporary import temporary_folder
from textseg.text.finding import Finding
from textseg.text.from_mask import contradiction

MOST_LABELS = 64  # the highest label value that is taken when nothing names the segments
MENDED = "The mask held 0 and 255; it is kept as 0 and 1."


@dataclass(frozen=True)
class Submission:
    """data: a whole label file of kind `suffix`. sentences: for the one who submitted."""

    data: bytes
    suffix: str
    joined: Joined
    sentences: tuple[str, ...]


def read_submission(image_id: str, file: Path, info: object, picture: Picture, known: Known) -> Submission:
    """A submitted label file. info: the viewer's `label_info`.

    Raises PictureError for a file that cannot be read, DataError for values that are no labels, for one that does not
    lie on its picture, and for a value that no segment has.
    """
    with temporary_folder() as folder:
        received = Path(folder) / f"label_of_{image_id}{suffix_of(file)}"
        with told_of_failure("the label"):
            shutil.copy(file, received)
        label, mended = _mended(read_label(received, picture), info)
        if mended and _named(info):
            info = [{**info[0], "idx": 1}] if isinstance(info[0], Mapping) else []
        joined = join(label, info, known)
        kept = ".nii.gz" if suffix_of(received) == ".png" else suffix_of(received)  # a PNG would lose the grid
        data = _file_of(joined.label, picture, received.with_name(f"kept{kept}"))
        odd = _contradictions(joined, picture)
    return Submission(data, kept, joined, (*([MENDED] if mended else []), *told(joined), *odd))


def _contradictions(joined: Joined, picture: Picture) -> list[str]:
    """Sentences for segments that are drawn where their prompt does not ask: they are kept, and train no model."""
    sentences = []
    for segment in joined.segments:
        if segment.finding and segment.values:
            drawn = picture.view.displayed(np.isin(joined.label, segment.values)).any(axis=0)
            fault = contradiction(Finding.from_json(segment.finding), drawn, picture.sides_known)
            sentences += [f"{fault} The label is kept, but no model learns from it as it is."] if fault else []
    return sentences


def _mended(label: np.ndarray, info: object) -> tuple[np.ndarray, bool]:
    """A mask of 0 and 255 as 0 and 1, and whether it was one. Raises DataError for values that are no labels."""
    values = [int(value) for value in np.unique(label) if value]
    if values == [255] and not (_named(info) > 1):
        return (label > 0).astype(np.uint8), True
    if not _named(info) and values and values[-1] > MOST_LABELS:
        raise DataError(
            f"The label holds values up to {values[-1]}: that is a picture, no label. Submit one small whole number "
            "for each segment, 0 for the background."
        )
    names_of(info, values)
    return label, False


def _named(info: object) -> int:
    return len(info) if isinstance(info, list) else 0


def _file_of(label: np.ndarray, picture: Picture, path: Path) -> bytes:
    """The label as a file's bytes. Raises StoreError where the file that was written does not hold it (a full disk)."""
    try:
        write_label(picture, label, path)
        whole = np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), label)
    except RuntimeError as error:
        raise StoreError(
            "The label could not be written. Make room on the server's disk, then submit again."
        ) from error
    if not whole:
        raise StoreError("The label could not be written whole. Make room on the server's disk, then submit again.")
    return path.read_bytes()


def about(info: Mapping[str, Any], client: str, address: str, request_id: str) -> dict[str, Any]:
    """Who sent a label, and what was sent with it, as a label's version keeps it."""
    sent = {key: value for key, value in info.items() if key not in ("client_id", "user", "model")}
    who = {"client": client, "address": address, "user": str(info.get("user") or ""), "request_id": request_id}
    return {**who, "model": str(info.get("model") or ""), "info": sent}
