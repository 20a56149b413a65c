"""The studies folder: which file or series a picture id means, what prompts.csv says of it, and labels at the door."""

import filecmp
import logging
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore

from textseg.data.prompts_table import TABLE, PromptRow, read_prompts
from textseg.errors import NameTaken, PictureError, PictureNotFound
from textseg.imaging.kinds import SUFFIXES, check_kind, is_picture_name, stem_of, suffix_of
from textseg.imaging.labels import read_label
from textseg.imaging.picture import XRAY
from textseg.imaging.read import read_picture
from textseg.imaging.series import count_series, dicom_files
from textseg.imaging.write import write_label
from textseg.server.delivery import FOLDER, Delivery
from textseg.server.http_errors import told_to_the_client
from textseg.server.names import check_picture_id, check_tag, id_of, literal
from textseg.server.series_watch import SeriesWatch
from textseg.text.hints import shown

PATTERNS = tuple(f"*{written}" for suffix in SUFFIXES for written in (suffix, suffix.upper()))
logger = logging.getLogger(__name__)


class Studies(LocalDatastore):
    """MONAI Label's local datastore over the kinds of picture that are read here, with ids that stay in the folder.

    A picture is a file in the folder, or a sub-folder that holds one DICOM series.
    """

    def __init__(self, folder: str, auto_reload: bool, read_only: bool) -> None:
        self.folder = Path(folder)
        self.delivery = Delivery(self.folder)
        self._table: tuple[float, dict[str, PromptRow]] = (-1.0, {})
        self._series: dict[str, tuple[int, int]] = {}
        self._unusable: dict[str, tuple[int, ...]] = {}
        self._refreshing = threading.RLock()
        super().__init__(folder, extensions=PATTERNS, auto_reload=auto_reload, read_only=read_only)
        if auto_reload:
            watch = SeriesWatch(self.folder, (FOLDER, self._datastore.labels_dir), self.refresh)
            self._observer.schedule(watch, str(self.folder), recursive=True)
        for name, pictures in Counter(id_of(path) for path in self._pictures()).items():
            if pictures > 1:
                logger.warning(
                    "%d pictures are called %s: none of them can be used until they are renamed", pictures, name
                )

    def picture_path(self, image_id: object) -> Path:
        """The file or series folder that a picture id means.

        Raises PictureNotFound for an unknown id or one that leads out of the folder, PictureError when two pictures
        have that name or when its kind is not supported.
        """
        check_picture_id(image_id)
        named = self._named(image_id)
        pictures = [path for path in named if self._may_be_meant(path) and id_of(path) == image_id]
        if len(pictures) > 1:
            names = " and ".join(path.name for path in pictures)
            raise PictureError(f"{names} have one name, {image_id}. Rename one of them, then refresh.")
        if pictures:
            return pictures[0]
        for path in named:
            if path.is_file():
                check_kind(path)
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

    def deliver(self, image_id: object) -> Path:
        """The file that a viewer opens for a picture. Raises as `picture_path`, and PictureError for a bad series."""
        try:
            return self.delivery.make(self.picture_path(image_id))
        except PictureError:
            self._unusable[str(image_id)] = self._changed(str(image_id))
            raise

    def get_image_uri(self, image_id: str) -> str:
        """The deliverable file as MONAI Label asks for it; "" for an unknown id."""
        with told_to_the_client():
            return str(self.deliver(image_id)) if image_id in self._datastore.objects else ""

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of a picture. `path` and `name`: its deliverable file; Slicer shows `PatientID` as the name."""
        info = super().get_image_info(image_id)
        if info and Path(info["path"]).exists():
            path = self.delivery.path(Path(info["path"]))
            info |= {"path": str(path), "name": path.name, "PatientID": image_id}
        return info

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """What Next Sample chooses from: without a picture that could not be opened, until its folder changes."""
        names = super().get_unlabeled_images(label_tag, labels)
        return [name for name in names if self._unusable.get(name) != self._changed(name)]

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Pairs of picture and label file; a series as its deliverable file."""
        pairs = super().datalist(full_path)
        for pair in pairs:
            if Path(pair["image"]).is_dir():
                pair["image"] = str(self.delivery.make(Path(pair["image"])))
        return pairs

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """An upload by a client: its id must stay in the folder and its kind be one that is read; nothing is replaced.

        The same picture sent again changes nothing; another one of that name is refused.
        """
        sent = Path(image_filename)
        image_id = image_id or stem_of(sent)
        with told_to_the_client():
            check_picture_id(image_id)
            check_kind(sent)
            taken = [path for path in self._named(image_id) if id_of(path) == image_id or path.is_symlink()]
            if any(path.is_file() and filecmp.cmp(path, sent, shallow=False) for path in taken):
                return image_id
            if taken:
                raise NameTaken(f"There is another picture called {image_id} already. Give this one another name.")
        return super().add_image(image_id, image_filename, image_info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """A label by a client: laid on its picture's own grid before it is stored, or refused."""
        with told_to_the_client(), tempfile.TemporaryDirectory(prefix="textseg-") as folder:
            check_tag(label_tag)
            picture = read_picture(self.picture_path(image_id), XRAY)  # whatever its modality: only its grid counts
            received = Path(folder) / f"label_of_{image_id}{suffix_of(Path(label_filename))}"
            shutil.copy(label_filename, received)
            kept = ".nii.gz" if suffix_of(received) == ".png" else suffix_of(received)  # a PNG would lose the grid
            laid = received.with_name(f"laid{kept}")
            write_label(picture, read_label(received, picture), laid)
            for path in self._stored_labels(image_id, label_tag):
                if path.is_symlink():  # what it points to is not the server's
                    path.unlink()
            label_id = super().save_label(image_id, str(laid), label_tag, label_info)
        for path in self._stored_labels(image_id, label_tag):
            if path.name != f"{label_id}{kept}":  # it would be listed in place of the new one, and ITK would read it
                path.unlink()
        return label_id

    def remove_image(self, image_id: str) -> None:
        """Removes the picture and its labels, and what was made of it for viewers.

        Of a link only the link goes, of a series folder only its DICOM files.
        """
        with told_to_the_client():
            picture = self.picture_path(image_id)
        self.delivery.forget(picture)
        for tag in self.get_labels_by_image_id(image_id):
            self.remove_label(image_id, tag)
        if picture.is_dir() and not picture.is_symlink():
            for path in dicom_files(picture):
                path.unlink()
            if not any(picture.iterdir()):
                picture.rmdir()
        else:
            picture.unlink()
        self.refresh()

    def refresh(self) -> None:
        """List the studies anew. Called by the watcher's threads as well: what vanishes meanwhile ends none of them."""
        with self._refreshing:
            try:
                super().refresh()
                self.delivery.forget_removed(self.folder)
            except OSError as error:
                logger.warning("The studies could not be listed (%s); they are listed again at the next change", error)

    def _named(self, image_id: str) -> list[Path]:
        """Everything in the folder that may be called `image_id`, with or without a suffix."""
        bare = self.folder / image_id
        return [*sorted(self.folder.glob(f"{literal(image_id)}.*")), *([bare] if bare.exists() else [])]

    def _stored_labels(self, image_id: str, tag: str) -> list[Path]:
        folder = Path(self._datastore.label_path(tag))
        files = folder.iterdir() if folder.is_dir() else ()
        return [path for path in files if is_picture_name(path) and stem_of(path) == image_id]

    def _changed(self, image_id: str) -> tuple[int, ...]:
        """When a picture was added to the studies or taken away, and a file to its series."""
        folders = (self.folder, self.folder / image_id)
        return tuple(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())

    def _pictures(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if self._is_picture(path)]

    def _is_picture(self, path: Path) -> bool:
        """What is listed: a picture file, a folder with one series; no hidden ones, which cannot be asked for."""
        if path.name.startswith(".") or not path.name.isprintable():
            return False
        return self._series_in(path) == 1 if path.is_dir() else path.is_file() and is_picture_name(path)

    def _may_be_meant(self, path: Path) -> bool:
        """What an id may name: also a folder with several series, which is refused in words when it is read."""
        return self._is_picture(path) or (path.is_dir() and self._series_in(path) > 1)

    def _series_in(self, folder: Path) -> int:
        """How many DICOM series a sub-folder holds; counted again when a file was added or taken away."""
        if folder.name.startswith(".") or folder.name == self._datastore.labels_dir:
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

    def _list_files(self, path: str, patterns: tuple[str, ...]) -> dict[str, str]:
        """MONAI Label's listing of a folder; of the studies folder, with its series."""
        if Path(path).resolve() != self.folder.resolve():
            return super()._list_files(path, patterns)
        return {picture.name: picture.name for picture in self._pictures()}

    def _to_id(self, file: str) -> tuple[str, str]:
        """A file name -> (picture id, what is left of the name); a series folder's whole name is its id."""
        path = self.folder / file
        if path.is_dir():
            return file, ""
        return file[: len(file) - len(suffix_of(path))], file[len(file) - len(suffix_of(path)) :]
