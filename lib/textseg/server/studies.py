"""The studies folder as MONAI Label's datastore: what is uploaded, submitted, changed and removed."""

import filecmp
import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from textseg.data.picture_ids import check_picture_id
from textseg.data.store.clients import Client
from textseg.data.store.shown import TAGS
from textseg.errors import NameTaken, PictureError, StoreError, TextSegError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.kinds import check_kind, stem_of, suffix_of
from textseg.imaging.picture import XRAY
from textseg.imaging.read import read_picture
from textseg.imaging.series import dicom_files
from textseg.server.caller import current_caller
from textseg.server.delivery import state_of
from textseg.server.http_errors import told_to_the_client
from textseg.server.keeping import Sender, Submitted
from textseg.server.listing import Listing
from textseg.server.names import check_tag, id_of
from textseg.server.watch import StudiesWatch

logger = logging.getLogger(__name__)


class Studies(Listing):
    """A picture is a file in the folder, or a sub-folder that holds one DICOM series; its id stays in the folder."""

    def __init__(self, folder: str, auto_reload: bool, read_only: bool) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        super().__init__(Path(folder), read_only)
        self._uploading = threading.Lock()
        self._states: dict[str, bytes] = {}
        self.refreshed = 0  # how often; files may be others since
        self._refreshing = threading.RLock()
        self._watch = StudiesWatch(self.folder, self.refresh, self.labels.is_known)
        if self.keeping.writable:
            for tag in TAGS:
                self.keeping.store.layout.shown(tag).mkdir(parents=True, exist_ok=True)
        self.refresh()
        if auto_reload:
            self._watch.start(self._watched())

    def close(self) -> None:
        """End what runs beside the requests."""
        self._watch.stop()

    def give(self, client: Client, image_id: str, strategy: dict[str, Any]) -> None:
        """Next Sample has given a picture to a client. strategy: when and to whom, by strategy, for its info."""
        if self.keeping.writable:
            self.keeping.clients.give(client, image_id)
            self._add_info(image_id, {"strategy": strategy}, power_cuts=False)

    def refresh(self) -> None:
        """List the studies anew. Called by the watcher as well: what vanishes meanwhile ends nothing."""
        with self._refreshing:
            try:
                self.pictures.refresh()
                self._look_at_changed(self.pictures.ids())
                compared = self.labels.scan(set(self.pictures.ids()))
                self._look_at_changed(compared)  # it may have been their first label
                self.delivery.forget_removed(self.folder)
                self._watch.follow(self._watched())
                self.refreshed += 1
            except (OSError, StoreError) as error:
                logger.warning("The studies could not be listed (%s); they are listed again at the next change", error)

    def _look_at_changed(self, pictures: Iterable[str]) -> None:
        """A picture that was put in the place of another one must not be listed with the other one's label."""
        for name in pictures:
            try:
                if not self.keeping.store.layout.picture(name).is_dir():
                    continue
                path = self.picture_path(name)
                state = state_of(path)
                if self._states.get(name) != state:
                    self.keeping.known(name, path)
                    self._states[name] = state
            except (TextSegError, OSError) as error:
                logger.info("a picture cannot be looked at: %s", type(error).__name__)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of a picture."""
        with told_to_the_client():
            self.picture_path(image_id)
            self._check_writable()
            self._add_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what was sent with a label: as a new version of it, since versions never change."""
        with told_to_the_client():
            self._label_path(label_id, label_tag)
            self._check_writable()
            self.keeping.store.annotate_label(label_id, label_tag, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """An upload by a client: its id must stay in the folder and its kind be one that is read; nothing is replaced.

        The same picture sent again, in any lossless format, changes nothing; another one of that name is refused.
        """
        sent = Path(image_filename)
        image_id = image_id or stem_of(sent)
        with told_to_the_client():
            check_picture_id(image_id)
            check_kind(sent)
            self._check_writable()
            with self._uploading:  # two of one name at once: one is told of the other
                taken = [path for path in self.pictures.named(image_id) if id_of(path) == image_id or path.is_symlink()]
                if any(_same_picture(path, sent) for path in taken):
                    return image_id
                if taken:
                    raise NameTaken(f"There is another picture called {image_id} already. Give this one another name.")
                self.keeping.store.take_in(sent, self.folder / f"{image_id}{suffix_of(sent)}")
        self.refresh()
        if image_info:
            self.update_image_info(image_id, image_info)
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Moves the picture, its labels and prompts into the trash; what was made of it for viewers goes.

        Of a link only the link goes, of a series folder only its DICOM files.
        """
        with told_to_the_client():
            picture = self.picture_path(image_id)
            self._check_writable()
            self.delivery.forget(picture)
            series = picture.is_dir() and not picture.is_symlink()
            files = dicom_files(picture) if series else [picture]
            self.keeping.store.discard_picture(image_id, *files, why="picture")
            if series and not any(picture.iterdir()):
                picture.rmdir()
        self.refresh()

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """A person's label; `submit` tells more of it."""
        client = Client(str(label_info.get("client_id") or ""), current_caller().address)
        self.submit(image_id, Path(label_filename), label_tag, label_info, client)
        return image_id

    def submit(self, image_id: str, file: Path, tag: str, info: dict[str, Any], client: Client) -> Submitted:
        """A person's label: laid on its picture's own grid, joined with its prompts and kept, or refused."""
        with told_to_the_client():
            check_tag(tag)
            path = self.picture_path(image_id)
            self._check_writable()
            return self.keeping.submit(image_id, path, file, tag, info, Sender(client, current_caller().request_id))

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Moves all versions of a label into the trash."""
        with told_to_the_client():
            self._label_path(label_id, label_tag)
            self._check_writable()
            self.keeping.store.discard_label(label_id, label_tag)

    def _add_info(self, image_id: str, info: dict[str, Any], power_cuts: bool = True) -> None:
        known = self.keeping.store.known(image_id).get("info") or {}
        self.keeping.store.note(image_id, power_cuts, info={**known, **info})

    def _check_writable(self) -> None:
        if not self.keeping.writable:
            raise StoreError(
                "The studies folder cannot be written: nothing is kept. Give the server the right to write."
            )

    def _watched(self) -> list[Path]:
        labels = [self.keeping.store.layout.shown(tag) for tag in TAGS]
        return [self.folder, *self.pictures.sub_folders(), *(folder for folder in labels if folder.is_dir())]


def _same_picture(path: Path, sent: Path) -> bool:
    """The same file, or the same pixels on the same grid in another one."""
    if path.is_file() and filecmp.cmp(path, sent, shallow=False):
        return True
    try:
        there, new = read_picture(path, XRAY), read_picture(sent, XRAY)
    except PictureError:
        return False
    return there.grid.near(new.grid) and pixels_sha256(there) == pixels_sha256(new)
