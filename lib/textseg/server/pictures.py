"""Which pictures there are: files of the studies folder, and its sub-folders that hold one DICOM series."""

import logging
from collections.abc import Iterator
from pathlib import Path

from textseg.data.picture_ids import check_picture_id
from textseg.errors import PictureError, PictureNotFound
from textseg.imaging.kinds import check_kind, is_picture_name
from textseg.imaging.series import count_series
from textseg.server.names import id_of, literal
from textseg.text.hints import shown

LABELS = "labels"
logger = logging.getLogger(__name__)


class PictureFolder:
    """Picture ids and what they mean. `refresh` lists anew; between two listings nothing of the folder is searched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, list[Path]] = {}
        self._series: dict[str, tuple[int, int]] = {}
        self._told: set[str] = set()

    def ids(self) -> list[str]:
        """All picture ids; one that two pictures have is listed, and refused when it is used."""
        return list(self._paths)

    def refresh(self) -> None:
        """List the folder anew. Raises OSError where it cannot be read."""
        paths: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()):
            if self._is_picture(path):
                paths.setdefault(id_of(path), []).append(path)
        self._paths = paths
        for name in [name for name, named in paths.items() if len(named) > 1 and name not in self._told]:
            self._told.add(name)
            logger.warning("%d pictures are called %s: none can be used until they are renamed", len(paths[name]), name)

    def path(self, image_id: object) -> Path:
        """The file or series folder that a picture id means.

        Raises PictureNotFound for an unknown id or one that leads out of the folder, PictureError when two pictures
        have that name or when its kind is not supported.
        """
        check_picture_id(image_id)
        pictures = self._paths.get(image_id, [])
        if len(pictures) != 1 or not pictures[0].exists():
            pictures = [path for path in self.named(image_id) if self._may_be_meant(path) and id_of(path) == image_id]
        if len(pictures) > 1:
            names = " and ".join(path.name for path in pictures)
            raise PictureError(f"{names} have one name, {image_id}. Rename one of them, then refresh.")
        if pictures:
            return pictures[0]
        for path in self.named(image_id):
            if path.is_file():
                check_kind(path)
        raise PictureNotFound(f"There is no picture {shown(image_id)} in the studies. Refresh the list of pictures.")

    def named(self, image_id: str) -> list[Path]:
        """Everything in the folder that may be called `image_id`, with or without a suffix."""
        bare = self.folder / image_id
        return [*sorted(self.folder.glob(f"{literal(image_id)}.*")), *([bare] if bare.exists() else [])]

    def changed(self, image_id: str) -> tuple[int, ...]:
        """When a picture was added to the studies or taken away, and a file to its series."""
        folders = (self.folder, self.folder / image_id)
        return tuple(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())

    def sub_folders(self) -> Iterator[Path]:
        """Those that may hold a series."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.name.startswith(".") and path.name != LABELS:
                yield path

    def _is_picture(self, path: Path) -> bool:
        """What is listed: a picture file, a folder with one series; no hidden ones, which cannot be asked for."""
        if path.name.startswith(".") or not path.name.isprintable():
            return False
        return self._series_in(path) == 1 if path.is_dir() else is_picture_name(path) and path.is_file()

    def _may_be_meant(self, path: Path) -> bool:
        """What an id may name: also a folder with several series, which is refused in words when it is read."""
        return self._is_picture(path) or (path.is_dir() and self._series_in(path) > 1)

    def _series_in(self, folder: Path) -> int:
        """How many DICOM series a sub-folder holds; counted again when a file was added or taken away."""
        if folder.name.startswith(".") or folder.name == LABELS:
            return 0
        changed = folder.stat().st_mtime_ns
        known, count = self._series.get(folder.name, (0, 0))
        if known != changed or not count:
            try:
                count = count_series(folder)
            except OSError as error:
                logger.warning("%s cannot be looked into: %s", folder.name, error)
                return 0
            if count > 1:
                logger.warning("%s holds %d DICOM series: put each into a folder of its own", folder.name, count)
            self._series[folder.name] = (changed, count)
        return count
