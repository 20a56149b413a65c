"""The studies folder: which file a picture id means, and what prompts.csv says of it."""

import logging
from collections import Counter
from pathlib import Path

from monailabel.datastore.local import LocalDatastore

from textseg.data.prompts_table import TABLE, PromptRow, read_prompts
from textseg.errors import PictureError, PictureNotFound
from textseg.imaging.read import SUFFIXES, stem_of, suffix_of
from textseg.server.http_errors import told_to_the_client
from textseg.text.prompt import shown

PATTERNS = tuple(f"*{written}" for suffix in SUFFIXES for written in (suffix, suffix.upper()))
logger = logging.getLogger(__name__)


class Studies(LocalDatastore):
    """MONAI Label's local datastore over the kinds of picture that are read here, with ids that stay in the folder."""

    def __init__(self, folder: str, auto_reload: bool, read_only: bool) -> None:
        self.folder = Path(folder)
        self._table: tuple[float, dict[str, PromptRow]] = (-1.0, {})
        super().__init__(folder, extensions=PATTERNS, auto_reload=auto_reload, read_only=read_only)
        for stem, files in Counter(stem_of(path) for path in self._pictures()).items():
            if files > 1:
                logger.warning(
                    "%d pictures are called %s: none of them can be used until they are renamed", files, stem
                )

    def picture_path(self, image_id: object) -> Path:
        """The file that a picture id means.

        Raises PictureNotFound for an unknown id or one that leads out of the folder, PictureError when two files have
        that stem or when its kind is not supported.
        """
        check_picture_id(image_id)
        named = sorted(path for path in self.folder.glob(f"{_literal(image_id)}.*") if path.is_file())
        pictures = [path for path in named if stem_of(path) == image_id and suffix_of(path) in SUFFIXES]
        if len(pictures) > 1:
            names = " and ".join(path.name for path in pictures)
            raise PictureError(f"{names} have one name, {image_id}. Rename one of them, then refresh.")
        if pictures:
            return pictures[0]
        if named:
            _check_kind(named[0])
        raise PictureNotFound(f"There is no picture {shown(image_id)} in the studies. Refresh the list of pictures.")

    def prompt_row(self, image_id: str) -> PromptRow | None:
        """The picture's row in prompts.csv, read anew when the file changed. Raises DataError when it is damaged."""
        path = self.folder / TABLE
        if not path.is_file():
            return None
        changed = path.stat().st_mtime
        if changed != self._table[0]:
            self._table = (changed, read_prompts(path))
        return self._table[1].get(image_id)

    def add_image(self, image_id: str, image_filename: str, image_info: dict) -> str:
        """An upload by a client: its id must stay in the folder, and its kind must be one that can be read."""
        with told_to_the_client():
            check_picture_id(image_id)
            _check_kind(Path(image_filename))
        return super().add_image(image_id, image_filename, image_info)

    def _pictures(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_file() and suffix_of(path) in SUFFIXES]


def check_picture_id(image_id: object) -> None:
    """Raises PictureNotFound for an id that is no plain name: a path, a parent folder, control characters."""
    plain = isinstance(image_id, str) and 0 < len(image_id) <= 255 and image_id.isprintable()
    if not plain or image_id.startswith(".") or "/" in image_id or "\\" in image_id:
        raise PictureNotFound(
            f"{shown(image_id)} is no picture of these studies: give the name of a picture in the list, not a path."
        )


def _check_kind(path: Path) -> None:
    if suffix_of(path) not in SUFFIXES:
        raise PictureError(f"{path.name} is of a kind not supported yet. Supported: {', '.join(SUFFIXES)}.")


def _literal(name: str) -> str:
    """The name with glob's special characters made harmless."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
