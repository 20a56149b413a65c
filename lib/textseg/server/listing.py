"""What the studies folder shows to MONAI Label: its pictures, their labels, and what is known of both."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from textseg.data.picture_ids import check_picture_id
from textseg.data.store.shown import FINAL, ORIGINAL
from textseg.errors import LabelNotFound, PictureError
from textseg.imaging.kinds import suffix_of
from textseg.server.archive import write_archive
from textseg.server.delivery import Delivery
from textseg.server.http_errors import told_to_the_client
from textseg.server.keeping import Keeping, told_words
from textseg.server.names import check_tag
from textseg.server.pictures import PictureFolder

NAME, DESCRIPTION = "studies", "Pictures of a folder, with the labels and prompts that textseg keeps"


class Listing(Datastore):
    """The half of a datastore that changes nothing. There is no index file that could contradict the files."""

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = folder
        self.pictures = PictureFolder(folder)
        self.delivery = Delivery(folder)
        self.keeping = Keeping(folder, read_only)
        self.labels = self.keeping.store.shown
        self._unusable: dict[str, tuple[int, ...]] = {}

    def name(self) -> str:
        """The datastore's name."""
        return NAME

    def set_name(self, name: str) -> None:
        """Not kept: the folder is its name."""

    def description(self) -> str:
        """The datastore's description."""
        return DESCRIPTION

    def set_description(self, description: str) -> None:
        """Not kept."""

    def list_images(self) -> list[str]:
        """All picture ids."""
        return self.pictures.ids()

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Pictures with a final label."""
        return [name for name in self.pictures.ids() if self.labels.path(name, FINAL)]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """What Next Sample chooses from: no final label, and not one that could not be opened since it last changed."""
        names = [name for name in self.pictures.ids() if not self.labels.path(name, FINAL)]
        return [name for name in names if name not in self._unusable or self._has_changed(name)]

    def picture_path(self, image_id: object) -> Path:
        """The file or series folder that a picture id means. Raises PictureNotFound, PictureError."""
        return self.pictures.path(image_id)

    def deliver(self, image_id: object) -> Path:
        """The file that a viewer opens for a picture. Raises as `picture_path`, and PictureError for a bad series."""
        try:
            return self.delivery.make(self.picture_path(image_id))
        except PictureError:
            self.set_aside(str(image_id))
            raise

    def set_aside(self, image_id: str) -> None:
        """A picture that cannot be opened is not offered by Next Sample until something has changed in the folder."""
        self._unusable[image_id] = self.pictures.changed(image_id)

    def get_image(self, image_id: str, params: Any = None) -> bytes:
        """The deliverable file's bytes."""
        return Path(self.get_image_uri(image_id)).read_bytes()

    def get_image_uri(self, image_id: str) -> str:
        """The deliverable file as MONAI Label asks for it. An unknown id is told to the client."""
        with told_to_the_client():
            return str(self.deliver(image_id))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of a picture, its remembered prompt or that of prompts.csv among it.

        `path` and `name`: its deliverable file; Slicer shows `PatientID` as the name.
        """
        with told_to_the_client():
            picture = self.picture_path(image_id)
            path = self.delivery.path(picture)
            info = self.keeping.store.known(image_id).get("info") or {}
            with suppress(PictureError):  # damaged: then nothing is known of this one
                info |= told_words(self.keeping.known(image_id, picture))
        about = {"ts": int(picture.stat().st_mtime), "path": str(path), "name": path.name, "PatientID": image_id}
        return {**info, **about}

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """tag -> label id; a label has its picture's id."""
        return dict.fromkeys(self.labels.tags(image_id), image_id)

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The label's id; "" where there is none."""
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> bytes:
        """The label file's bytes."""
        return Path(self.get_label_uri(label_id, label_tag)).read_bytes()

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The label's file. A label that is not there is told to the client."""
        with told_to_the_client():
            return str(self._label_path(label_id, label_tag))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What was sent with the label, and what the server knows of it: who, when, version, prompts."""
        with told_to_the_client():
            return self._label_info(label_id, label_tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Pairs of picture and final label file; a series as its deliverable file. What has vanished is left out."""
        pairs = []
        for name in self.get_labeled_images():
            with suppress(PictureError, LabelNotFound):
                picture = self.picture_path(name)
                pair = (self.delivery.make(picture) if picture.is_dir() else picture, self._label_path(name, FINAL))
                image, label = (path if full_path else path.relative_to(self.folder) for path in pair)
                pairs.append({"image": str(image), "label": str(label)})
        return pairs

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """All labelled pictures with their final labels as one zip file, which the caller removes."""
        with told_to_the_client():
            return str(write_archive(self.datalist()[: limit_cases or None], self.json()))

    def status(self) -> dict[str, Any]:
        """How many pictures and labels there are."""
        tags = {tag: sum(1 for name in self.pictures.ids() if self.labels.path(name, tag)) for tag in (FINAL, ORIGINAL)}
        counted = {tag: count for tag, count in tags.items() if count}
        return {"total": len(self.pictures.ids()), "completed": tags[FINAL], "label_tags": counted}

    def json(self) -> dict[str, Any]:
        """Everything that is listed, as MONAI Label's own datastore tells it."""
        kept = self.keeping.store.kept()  # of most pictures nothing may be kept yet
        objects = {name: self._told(name, name in kept) for name in self.pictures.ids()}
        return {"name": NAME, "description": DESCRIPTION, "images_dir": ".", "labels_dir": "labels", "objects": objects}

    def _told(self, image_id: str, is_kept: bool) -> dict[str, Any]:
        labels = {}
        for tag in self.labels.tags(image_id):
            with suppress(LabelNotFound):
                path = self._label_path(image_id, tag)
                labels[tag] = {"ext": suffix_of(path), "info": self._label_info(image_id, tag)}
        known = self.keeping.store.known(image_id) if is_kept else {}
        return {"image": {"ext": "", "info": known.get("info") or {}}, "labels": labels}

    def _label_info(self, image_id: str, tag: str) -> dict[str, Any]:
        path = self._label_path(image_id, tag)
        version = self.keeping.store.current_label(image_id, tag)
        return {"name": path.name, "ts": int(path.stat().st_mtime), **(version.about() if version else {})}

    def _label_path(self, image_id: object, tag: object) -> Path:
        check_picture_id(image_id)
        path = self.labels.path(str(image_id), check_tag(tag))
        if path is not None and not path.is_file():  # taken away by hand: it is put back at the next refresh
            version = self.keeping.store.current_label(image_id, tag)
            path = self.keeping.store.label_path(image_id, tag, version) if version else None
        if path is None:
            raise LabelNotFound(f"There is no {tag} label of {image_id}. Refresh the list of pictures.")
        return path

    def _has_changed(self, image_id: str) -> bool:
        return self._unusable.get(image_id) != self.pictures.changed(image_id)
