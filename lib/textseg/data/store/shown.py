"""The folder labels/<tag>/ beside the pictures: it shows the current version of each label, for people and MONAI Label.

The versions in the store are what counts. A label file that somebody puts there becomes a new version; one that goes
missing is put back (a label is removed with MONAI Label's DELETE, or with `textseg forget`).
"""

import hashlib
import logging
from collections.abc import Collection
from pathlib import Path

from textseg.data.store.durable import iso_time, locked, told_of_failure, write_whole
from textseg.data.store.labels import PERSON, LabelFolder, LabelVersion
from textseg.data.store.layout import Layout
from textseg.errors import StoreError, TextSegError
from textseg.imaging.kinds import stem_of, suffix_of
from textseg.imaging.labels import LABEL_SUFFIXES, check_label_file

FINAL, ORIGINAL = "final", "original"
TAGS = (FINAL, ORIGINAL)
Key = tuple[str, str]
Signature = tuple[tuple[str, int, int], ...]  # name, size and time of every file that has the label's name
MARK = 1000  # nanoseconds by which a shown file is younger than its version: a copy that somebody made is not
SECOND = 10**9
logger = logging.getLogger(__name__)


class ShownLabels:
    """Which label files are shown, by (picture id, tag). `scan` brings folder and store together."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._shown: dict[Key, Path] = {}
        self._seen: dict[Key, Signature] = {}
        self._files: dict[Key, list[Path]] = {}

    def path(self, image_id: str, tag: str) -> Path | None:
        """The label file that is shown; None where there is none."""
        return self._shown.get((image_id, tag))

    def tags(self, image_id: str) -> list[str]:
        """Under which tags the picture has a label."""
        return [tag for tag in TAGS if (image_id, tag) in self._shown]

    def is_known(self, path: Path) -> bool:
        """True for a label file that has not changed since it was listed or shown."""
        key = (stem_of(path), path.parent.name)
        return key in self._seen and path.exists() and _state(path) in self._seen[key]

    def scan(self, pictures: Collection[str]) -> set[str]:
        """Look at the folder anew. Only what has changed since, and what is kept but not shown, is compared.

        Returns the pictures whose labels were compared.
        """
        there = self._listed()
        hidden = [(name, tag) for name in pictures for tag in TAGS if (name, tag) not in self._shown]
        kept = {key for key in hidden if self._layout.labels(*key).is_dir()}
        compared = set()
        for key in {*there, *list(self._seen), *kept}:
            files = there.get(key, [])
            if key[0] in pictures and (key in kept or self._seen.get(key, ()) != _signature(files)):
                self._files[key] = files
                self._compare(*key)
                compared.add(key[0])
        for key in [key for key in list(self._shown) if key[0] not in pictures]:
            self._shown.pop(key, None)
            self._seen.pop(key, None)
        return compared

    def agree(self, image_id: str, tag: str, labels: LabelFolder) -> LabelVersion | None:
        """Take in what somebody put there, show the current version and return it; the caller holds the lock.

        None, and nothing is shown, where there is no label at all. Raises OSError, StoreError.
        """
        versions = labels.versions()
        there = self._candidates(image_id, tag)
        foreign = [path for path in there if not _is_ours(path, labels, versions)]
        usable = [path for path in foreign if _is_label(path, tag)]
        for path in usable:
            logger.info("labels/%s: a label of %s that somebody put there is taken in", tag, image_id)
            versions.append(adopt(labels, path))
        if not versions:
            self._shown.pop((image_id, tag), None)
            self._note(image_id, tag)
            return None
        place = self._place(image_id, tag, labels, versions[-1])
        if place in foreign and place not in usable:  # somebody may still be copying it
            self._shown[(image_id, tag)] = labels.path(versions[-1])
            self._note(image_id, tag)
        elif there == [place] and not usable and _shows(place, versions[-1]):
            self._shown[(image_id, tag)] = place
            self._note(image_id, tag)
        else:
            if not there:
                logger.warning("labels/%s: the label of %s was missing and is put back", tag, image_id)
            self.show(image_id, tag, labels, versions[-1])
        return versions[-1]

    def show(self, image_id: str, tag: str, labels: LabelFolder, version: LabelVersion) -> None:
        """Put a version into the folder; the caller holds the picture's lock. Raises OSError.

        Other files of that name go when they are versions too: one would be taken for the label.
        """
        path = self._place(image_id, tag, labels, version)
        if not _shows(path, version):
            source = labels.path(version)
            changed = source.stat().st_mtime_ns + MARK
            write_whole(path, source.read_bytes(), self._layout.unfinished, changed, power_cuts=False)
        kept = {each.sha256 for each in labels.versions()}
        for other in self._candidates(image_id, tag):
            if other != path and _sha256(other) in kept:
                other.unlink()
        self._shown[(image_id, tag)] = path
        self._note(image_id, tag)

    def unusable(self, image_id: str, tag: str) -> list[Path]:
        """Files of the label's name that are not the one shown."""
        return [path for path in self._candidates(image_id, tag) if path != self.path(image_id, tag)]

    def hide(self, image_id: str, tag: str) -> list[Path]:
        """Stop listing a label; returns the files that show it, which the caller takes away."""
        self._shown.pop((image_id, tag), None)
        self._seen.pop((image_id, tag), None)
        return self._candidates(image_id, tag)

    def hide_versions(self, image_id: str, tag: str) -> list[Path]:
        """As `hide`, but of files that are no version of the label: those are somebody's own, perhaps a newer one."""
        versions = LabelFolder(self._layout.labels(image_id, tag), self._layout.unfinished).versions()
        kept = {version.sha256 for version in versions}
        return [path for path in self.hide(image_id, tag) if _sha256(path) in kept]

    def _compare(self, image_id: str, tag: str) -> None:
        labels = LabelFolder(self._layout.labels(image_id, tag), self._layout.unfinished)
        try:
            with told_of_failure("a label"), locked(self._layout.lock(image_id)):
                self.agree(image_id, tag, labels)
        except StoreError as error:
            logger.warning("labels/%s: the label of %s is shown as it lies there: %s", tag, image_id, error)
            files = self._candidates(image_id, tag)
            self._note(image_id, tag)
            if files:
                self._shown[(image_id, tag)] = files[-1]

    def _place(self, image_id: str, tag: str, labels: LabelFolder, version: LabelVersion) -> Path:
        return self._layout.shown(tag) / f"{image_id}{suffix_of(labels.path(version))}"

    def _candidates(self, image_id: str, tag: str) -> list[Path]:
        """The files that may be taken for a label, the newest last; links count, folders do not."""
        folder = self._layout.shown(tag)
        names = {f"{image_id}{written}" for suffix in LABEL_SUFFIXES for written in (suffix, suffix.upper())}
        paths = {*(folder / name for name in names), *self._files.get((image_id, tag), [])}
        return sorted((path for path in paths if path.is_file()), key=lambda path: (path.stat().st_mtime_ns, path.name))

    def _note(self, image_id: str, tag: str) -> None:
        files = self._candidates(image_id, tag)
        self._files[(image_id, tag)] = files
        self._seen[(image_id, tag)] = _signature(files)

    def _listed(self) -> dict[Key, list[Path]]:
        """All label files that are there, by the label that they name."""
        there: dict[Key, list[Path]] = {}
        for tag in TAGS:
            folder = self._layout.shown(tag)
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not path.name.startswith(".") and suffix_of(path) in LABEL_SUFFIXES and path.is_file():
                    there.setdefault((stem_of(path), tag), []).append(path)
        return there


def adopt(labels: LabelFolder, path: Path) -> LabelVersion:
    """Keep a label file that did not come through the server as the next version, as it is. Raises OSError."""
    changed = path.stat()
    about = {"by": PERSON, "time": iso_time(changed.st_mtime), "info": {"name": path.name}}
    return labels.add(path.read_bytes(), suffix_of(path), changed.st_mtime_ns - MARK, **about)


def _is_ours(path: Path, labels: LabelFolder, versions: list[LabelVersion]) -> bool:
    """True for the current version, and for an earlier one as a save that broke off left it shown.

    Any other file is somebody's own, an earlier version that was copied there to restore it as well.
    """
    digest, changed = _sha256(path), path.stat().st_mtime_ns
    if versions and versions[-1].sha256 == digest:
        return True
    same = [labels.path(version).stat().st_mtime_ns for version in versions if version.sha256 == digest]
    coarse = changed % SECOND == 0 and changed in same  # a disk that keeps whole seconds keeps no mark
    return coarse or any(changed == kept + MARK for kept in same)


def _shows(path: Path, version: LabelVersion) -> bool:
    return path.is_file() and not path.is_symlink() and _sha256(path) == version.sha256


def _is_label(path: Path, tag: str) -> bool:
    try:
        check_label_file(path)
    except TextSegError as error:
        logger.warning("labels/%s: what somebody has put there is no label and not used: %s", tag, error)
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return path.name, state.st_size, state.st_mtime_ns


def _signature(paths: list[Path]) -> Signature:
    states = []
    for path in sorted(paths):
        try:
            states.append(_state(path))
        except FileNotFoundError:  # taken away meanwhile
            continue
    return tuple(states)
