"""The store of one studies folder. Safe with several threads and processes; nothing is held in memory.

Every public method locks the picture it speaks of, and raises StoreError where something cannot be kept or was written
by a newer version.
"""

import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from textseg.data.store.durable import (
    clear_unfinished,
    copy_new,
    iso_time,
    locked,
    make_folder,
    read_json,
    sync_folder,
    to_json,
    told_of_failure,
    write_whole,
)
from textseg.data.store.history import History, PromptEntry, append_entry, check_not_newer, read_history
from textseg.data.store.labels import MACHINE, PERSON, LabelFolder, LabelVersion
from textseg.data.store.layout import README, Layout
from textseg.data.store.masks import mask_name, pack_mask, read_mask_file
from textseg.data.store.shown import FINAL, TAGS, ShownLabels
from textseg.errors import LabelProtected, NameTaken
from textseg.imaging.kinds import suffix_of

OTHER_PICTURE = "another picture of that name"
logger = logging.getLogger(__name__)


class Store:
    """Prompts, labels and what is known of the pictures of one studies folder."""

    def __init__(self, studies: Path) -> None:
        self.layout = Layout(studies)
        self.shown = ShownLabels(self.layout)
        clear_unfinished(self.layout.unfinished)

    def history(self, image_id: str) -> History:
        """A picture's prompts; empty for a picture without any."""
        self._check()
        return read_history(self.layout.prompts(image_id))

    def remember(self, image_id: str, entry: PromptEntry, mask: np.ndarray | None = None) -> None:
        """Add a run to a picture's history; mask (z, y, x): what the run made, kept under its segment name."""
        with self._writing(image_id, "the prompt"):
            check_not_newer(self.layout.prompts(image_id))
            if mask is not None:
                path = self.layout.made(image_id) / mask_name(entry.segment)
                write_whole(path, pack_mask(entry.segment, mask), self.layout.unfinished, power_cuts=False)
            append_entry(self.layout.prompts(image_id), entry)

    def made(self, image_id: str, segment: str) -> np.ndarray | None:
        """The last mask that a model made of a picture under a segment name, z, y, x booleans; None if unknown."""
        return read_mask_file(self.layout.made(image_id) / mask_name(segment))

    def known(self, image_id: str) -> dict[str, Any]:
        """What is known of a picture: `pixels_sha256`, `seen`, `info`; empty for a new one."""
        self._check()
        with told_of_failure("what is known of the picture"):
            return read_json(self.layout.known(image_id)) or {}

    def kept(self) -> set[str]:
        """The pictures of which anything is kept."""
        folder = self.layout.pictures
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def note(self, image_id: str, power_cuts: bool = True, **known: Any) -> None:
        """Add to what is known of a picture, or change it. power_cuts: as for `write_whole`."""
        with self._writing(image_id, "what is known of the picture"):
            self._note(image_id, read_json(self.layout.known(image_id)) or {}, known, power_cuts)

    def identify(self, image_id: str, seen: str, pixels: str) -> None:
        """Note the state of a picture's file and the SHA-256 of its pixels.

        When another picture of that name was here before, all that is kept of it is set aside in the trash: it must not
        be taken for this one's. When this one was here before that, what was kept of it comes back.
        """
        with self._writing(image_id, "what is known of the picture"):
            known = read_json(self.layout.known(image_id)) or {}
            if known.get("pixels_sha256") not in (None, pixels):
                logger.warning("%s is another picture than before; what was kept of that is in the trash", image_id)
                own = [path for tag in TAGS for path in self.shown.hide_versions(image_id, tag)]
                self._discard(image_id, (self.layout.picture(image_id), *own), OTHER_PICTURE)
                known = self._restored(image_id, pixels)
            self._note(image_id, known, {"pixels_sha256": pixels, "seen": seen})

    def current_label(self, image_id: str, tag: str) -> LabelVersion | None:
        """The label's last version."""
        self._check()
        return self._labels(image_id, tag).current()

    def label_versions(self, image_id: str, tag: str) -> list[LabelVersion]:
        """All versions of a label, the oldest first."""
        self._check()
        return self._labels(image_id, tag).versions()

    def label_path(self, image_id: str, tag: str, version: LabelVersion) -> Path:
        """The file of a label's version."""
        return self._labels(image_id, tag).path(version)

    def save_label(self, image_id: str, tag: str, data: bytes, suffix: str, **about: Any) -> LabelVersion:
        """Keep a whole label file as the next version, and show it. about: the fields of LabelVersion.

        Raises LabelProtected for a machine's mask where a person's label is, StoreError; then all is as it was.
        """
        with self._writing(image_id, "the label"):
            labels = self._labels(image_id, tag)
            current = self.shown.agree(image_id, tag, labels)
            if about.get("by") == MACHINE and current and current.by == PERSON:
                other = "Save it with the tag original, or delete" if tag == FINAL else "Delete"
                raise LabelProtected(
                    f"The {tag} label of {image_id} is by a person: a machine's mask does not replace it. {other} "
                    "that label first."
                )
            self._discard(image_id, self.shown.unusable(image_id, tag), why=f"no label {tag}")
            return self._added(image_id, tag, labels, data, suffix, **about)

    def annotate_label(self, image_id: str, tag: str, info: dict[str, Any]) -> LabelVersion | None:
        """Add to what was sent with a label: versions never change, so this makes a new one. None without a label."""
        with self._writing(image_id, "what is known of the label"):
            labels = self._labels(image_id, tag)
            current = self.shown.agree(image_id, tag, labels)
            if current is None:
                return None
            about = {field.name: getattr(current, field.name) for field in fields(current)}
            about = {key: value for key, value in about.items() if key not in ("number", "file", "sha256")}
            about |= {"info": {**current.info, **info}, "time": iso_time()}
            source = labels.path(current)
            return self._added(image_id, tag, labels, source.read_bytes(), suffix_of(source), **about)

    def take_in(self, sent: Path, path: Path) -> None:
        """Copy an uploaded picture into the studies, whole or not at all. Raises NameTaken where a file is."""
        with self._writing(path.name, "the picture"):
            try:
                copy_new(sent, path, self.layout.unfinished)
            except FileExistsError as error:
                raise NameTaken(
                    f"There is a picture called {path.name} already. Give this one another name."
                ) from error

    def discard(self, image_id: str, *paths: Path, why: str) -> None:
        """Move what is there of `paths` into the picture's trash, under their places below the studies."""
        with self._writing(image_id, "the trash"):
            self._discard(image_id, paths, why)

    def discard_label(self, image_id: str, tag: str) -> None:
        """Move all versions of a label, and the file that shows it, into the trash."""
        self.discard(image_id, self.layout.labels(image_id, tag), *self.shown.hide(image_id, tag), why=f"label {tag}")

    def discard_picture(self, image_id: str, *files: Path, why: str) -> None:
        """Move all that is kept of a picture, its labels and `files`, into the trash."""
        shown = [path for tag in TAGS for path in self.shown.hide(image_id, tag)]
        self.discard(image_id, self.layout.picture(image_id), *shown, *files, why=why)

    def forget(self, image_id: str) -> list[Path]:
        """Erase everything that is kept of a picture, its trash as well; returns what was erased."""
        with self._writing(image_id, "the erasure"):
            folders = [self.layout.picture(image_id), self.layout.trash / image_id]
            erased = [path for path in folders if path.exists()]
            for path in erased:
                shutil.rmtree(path)
                sync_folder(path.parent)
            shown = [path for tag in TAGS for path in self.shown.hide(image_id, tag)]
            for path in shown:
                path.unlink()
            return erased + shown

    def _added(
        self, image_id: str, tag: str, labels: LabelFolder, data: bytes, suffix: str, **about: Any
    ) -> LabelVersion:
        """A new version that is shown, or all as it was."""
        version = labels.add(data, suffix, **about)
        try:
            self.shown.show(image_id, tag, labels, version)
        except OSError:
            labels.take_back(version)
            raise
        return version

    def _note(self, image_id: str, before: dict[str, Any], known: dict[str, Any], power_cuts: bool = True) -> None:
        data = to_json({**before, **known})
        write_whole(self.layout.known(image_id), data, self.layout.unfinished, power_cuts=power_cuts)

    def _restored(self, image_id: str, pixels: str) -> dict[str, Any]:
        """What was set aside of the picture with these pixels is put back; returns what is known of it."""
        for folder in sorted((self.layout.trash / image_id).glob(f"* {OTHER_PICTURE}"), reverse=True):
            kept = folder / self.layout.picture(image_id).relative_to(self.layout.studies)
            known = read_json(kept / self.layout.known(image_id).name) or {}
            if known.get("pixels_sha256") == pixels:
                kept.replace(self.layout.picture(image_id))
                sync_folder(self.layout.pictures)
                return known
        return {}

    def _discard(self, image_id: str, paths: Iterable[Path], why: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        folder = self.layout.trash / image_id / f"{stamp} {why}"
        for path in paths:
            if path.exists() or path.is_symlink():
                place = folder / path.relative_to(self.layout.studies)
                make_folder(place.parent)
                shutil.move(str(path), place)
                sync_folder(place.parent)
                sync_folder(path.parent)

    @contextmanager
    def _writing(self, image_id: str, what: str) -> Iterator[None]:
        self._check()
        with told_of_failure(what), locked(self.layout.lock(image_id)):
            if not self.layout.about.exists():
                (self.layout.root / "README").write_text(README, encoding="utf-8")
                write_whole(self.layout.about, to_json({"what": "textseg store"}), self.layout.unfinished)
            yield

    def _check(self) -> None:
        """Raises StoreError for a store of a newer version."""
        with told_of_failure("anything here"):
            read_json(self.layout.about)

    def _labels(self, image_id: str, tag: str) -> LabelFolder:
        return LabelFolder(self.layout.labels(image_id, tag), self.layout.unfinished)
