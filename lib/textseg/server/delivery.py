"""What a viewer gets of a picture: one file under a name of its own.

A DICOM series is delivered as one NRRD. A single-slice file needs a folder of its own, and a name without digits,
because Slicer (ITK's series grouping) opens files whose names differ only by a number as one volume, in the studies
folder as well as in its download cache.
"""

import hashlib
import logging
import re
import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk

from textseg.data.store.layout import FOLDER
from textseg.imaging.kinds import stem_of, suffix_of
from textseg.imaging.picture import XRAY
from textseg.imaging.read import decode

LETTERS = str.maketrans("0123456789", "abcdefghij")
logger = logging.getLogger(__name__)


class Delivery:
    """The deliverable files of a studies folder; made when a picture is asked for, remade when it has changed."""

    def __init__(self, studies: Path) -> None:
        self.folder = studies / FOLDER / "delivered"

    def path(self, picture: Path) -> Path:
        """Where the deliverable file of a picture (file or series folder) lies, or would lie once it is made.

        Its name is made of letters, and changes with the picture: a viewer's cache never gives out an older one.
        """
        key = "".join(_letters(byte) for byte in hashlib.sha256(state_of(picture)).digest()[:6])
        suffix = ".nrrd" if picture.is_dir() else suffix_of(picture)
        stem = picture.name if picture.is_dir() else stem_of(picture)
        readable = re.sub("[^A-Za-z]", "_", stem.translate(LETTERS))
        return self.folder / picture.name / key / f"{readable[:60]}_{key}{suffix}"

    def make(self, picture: Path) -> Path:
        """The deliverable file: a link to a file, a NRRD of a series. Raises PictureError for a series that is none."""
        path = self.path(picture)
        if path.exists():
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as unfinished:
            draft = Path(unfinished) / path.name
            if picture.is_dir():
                decoded = decode(picture, asked=XRAY)  # whatever its modality: only its grid and values are delivered
                sitk.WriteImage(decoded.grid.image(decoded.pixels), str(draft))
                logger.info("%s: %d DICOM files delivered as one NRRD", picture.name, decoded.grid.size[2])
            else:
                draft.symlink_to(picture.resolve())
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)
        for earlier in set(path.parent.parent.iterdir()) - {path.parent}:  # of an earlier state of the picture
            shutil.rmtree(earlier, ignore_errors=True)
        return path

    def forget_removed(self, studies: Path) -> None:
        """Take away what was made of pictures that are there no more."""
        for made in self.folder.iterdir() if self.folder.is_dir() else ():
            if not made.name.startswith(".") and not (studies / made.name).exists():
                shutil.rmtree(made, ignore_errors=True)

    def forget(self, picture: Path) -> None:
        """Take away what was made of a picture."""
        shutil.rmtree(self.folder / picture.name, ignore_errors=True)


def _letters(byte: int) -> str:
    return chr(ord("a") + byte // 16) + chr(ord("a") + byte % 16)


def state_of(picture: Path) -> bytes:
    """Where a picture lies, how large it is and when it was changed."""
    files = sorted(path for path in picture.iterdir() if path.is_file()) if picture.is_dir() else [picture]
    lines = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return "\n".join(lines).encode()
