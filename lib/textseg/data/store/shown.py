"""The folder labels/<tag>/ beside the pictures: it shows the current version of each label, for people and MONAI Label.

The versions in the store are what counts. A file that somebody puts there becomes a new version; one that goes missing
is put back (a label is removed with MONAI Label's DELETE, or with `textseg forget`).
"""

import hashlib
import logging
import os
from collections.abc import Collection
from pathlib import Path

from textseg.data.store.durable import iso_time, locked, told_of_failure, write_whole
from textseg.data.store.labels import PERSON, LabelFolder, LabelVersion
from textseg.data.store.layout import Layout
from textseg.errors import TextSegError
from textseg.imaging.kinds import stem_of, suffix_of
from textseg.imaging.labels import LABEL_SUFFIXES, check_label_file

FINAL, ORIGINAL = "final", "original"
TAGS = (FINAL, ORIGINAL)
Key = tuple[str, str]
logger = logging.getLogger(__name__)


class ShownLabels:
    """Which label files are shown, by (picture id, tag). `scan` brings folder and store together."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: dict[Key, tuple[Path, tuple[int, int]]] = {}

    def path(self, image_id: str, tag: str) -> Path | None:
        """The label file that is shown; None where there is none."""
        seen = self._seen.get((image_id, tag))
        return seen[0] if seen else None

    def tags(self, image_id: str) -> list[str]:
        """Under which tags the picture has a label."""
        return [tag for tag in TAGS if (image_id, tag) in self._seen]

    def scan(self, pictures: Collection[str]) -> None:
        """Look at the folder anew. Only what has changed since is compared with the store."""
        there = {key: path for tag in TAGS for key, path in self._listed(tag) if key[0] in pictures}
        expected = set(self._seen) or self._stored()
        for image_id, tag in (expected - set(there)) | set(there):
            path = there.get((image_id, tag))
            if image_id in pictures and (path is None or self._seen.get((image_id, tag)) != (path, _signature(path))):
                self._compare(image_id, tag, path)
        for key in [key for key in list(self._seen) if key[0] not in pictures]:
            self._seen.pop(key, None)

    def is_known(self, path: Path) -> bool:
        """True for a label file that has not changed since it was listed or shown."""
        seen = self._seen.get((stem_of(path), path.parent.name))
        return seen is not None and path.exists() and seen == (path, _signature(path))

    def show(self, image_id: str, tag: str, labels: LabelFolder, version: LabelVersion) -> None:
        """Put a version into the folder; the caller holds the picture's lock. Raises OSError."""
        source = labels.path(version)
        path = self._layout.shown(tag) / f"{image_id}{suffix_of(source)}"
        changed = source.stat().st_mtime_ns
        write_whole(path, source.read_bytes(), self._layout.unfinished, changed, power_cuts=False)
        for suffix in LABEL_SUFFIXES:
            other = path.with_name(f"{image_id}{suffix}")
            if other != path:  # it would be taken for the label
                other.unlink(missing_ok=True)
        self._seen[(image_id, tag)] = (path, _signature(path))

    def hide(self, image_id: str, tag: str) -> list[Path]:
        """Stop listing a label; returns the files that show it, which the caller takes away."""
        self._seen.pop((image_id, tag), None)
        files = [self._layout.shown(tag) / f"{image_id}{suffix}" for suffix in LABEL_SUFFIXES]
        return [path for path in files if path.exists() or path.is_symlink()]

    def _listed(self, tag: str) -> list[tuple[Key, Path]]:
        """The label files of a tag, the newest last."""
        folder = self._layout.shown(tag)
        names = [Path(entry.path) for entry in os.scandir(folder)] if folder.is_dir() else []
        files = [path for path in names if not path.name.startswith(".") and suffix_of(path) in LABEL_SUFFIXES]
        return [((stem_of(path), tag), path) for path in sorted(files, key=_time) if path.is_file()]

    def _stored(self) -> set[Key]:
        """All labels of the store."""
        folders = self._layout.pictures.glob("*/labels/*")
        return {(folder.parent.parent.name, folder.name) for folder in folders if folder.name in TAGS}

    def _compare(self, image_id: str, tag: str, path: Path | None) -> None:
        labels = LabelFolder(self._layout.labels(image_id, tag), self._layout.unfinished)
        with told_of_failure("a label"), locked(self._layout.lock(image_id)):
            versions = labels.versions()
            seen = self._seen.get((image_id, tag))
            if seen and seen[0].exists() and seen[1] == _signature(seen[0]):  # saved meanwhile
                return
            if path is None and not versions:
                self._seen.pop((image_id, tag), None)
            elif path is None:
                logger.warning("labels/%s: the label of %s was missing and is put back", tag, image_id)
                self.show(image_id, tag, labels, versions[-1])
            elif versions:
                self._agree(image_id, tag, path, labels, versions)
            else:
                self._seen[(image_id, tag)] = (path, _signature(path))

    def _agree(self, image_id: str, tag: str, path: Path, labels: LabelFolder, versions: list[LabelVersion]) -> None:
        """A shown file beside its versions: the same, an earlier one after a broken save, or somebody's own."""
        data = path.read_bytes()
        same = [version for version in versions if version.sha256 == hashlib.sha256(data).hexdigest()]
        if versions[-1] in same:
            self._seen[(image_id, tag)] = (path, _signature(path))
        elif any(labels.path(version).stat().st_mtime_ns == path.stat().st_mtime_ns for version in same):
            self.show(image_id, tag, labels, versions[-1])
        elif self._is_label(path, tag):
            logger.info("labels/%s: somebody has put a label of %s there; it is kept as a new version", tag, image_id)
            self.show(image_id, tag, labels, adopt(labels, path))
        else:
            self._seen[(image_id, tag)] = (labels.path(versions[-1]), _signature(path))

    def _is_label(self, path: Path, tag: str) -> bool:
        try:
            check_label_file(path)
        except TextSegError as error:
            logger.warning("labels/%s: what somebody has put there is no label and not used: %s", tag, error)
            return False
        return True


def adopt(labels: LabelFolder, path: Path) -> LabelVersion:
    """Keep a label file that did not come through the server as the next version, as it is. Raises OSError."""
    time = iso_time(path.stat().st_mtime)
    return labels.add(path.read_bytes(), suffix_of(path), by=PERSON, time=time, info={"name": path.name})


def _signature(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # taken away meanwhile, or a link to nothing
        return 0
