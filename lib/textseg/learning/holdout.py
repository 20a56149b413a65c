"""The frozen hold-out: a fifth of the corrected pictures scores every candidate and never trains one.

Which fifth is told by a hash of the patient, else of the pixels, so that a picture that comes again under another name
stays where it was. Once in, always in; once trained on, never in.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textseg.data.seen import Seen
from textseg.data.store.durable import from_json, iso_time, make_folder, to_json, told_of_failure, write_whole
from textseg.errors import StoreError

if TYPE_CHECKING:  # the command line counts the held-out pictures without torch
    from textseg.learning.corrections import Correction

FILE = "holdout.json"
ONE_IN = 5


@dataclass(frozen=True)
class Split:
    """Corrections to train on, and those that are held out."""

    training: "list[Correction]"
    held: "list[Correction]"


class HoldOut:
    """The hold-out of one studies folder, for all its models. folder: what the server keeps below the studies.

    The file holds hashes of patients and pixels, no names.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def split(self, corrections: "Sequence[Correction]", seen: Seen) -> Split:
        """Who trains and who is held out, noted for good. seen: what the model's base was trained on.

        What is held out for another model, and this one's base was trained on, is neither: it would be praised for what
        it knows. Raises StoreError where the note cannot be read or written: nothing is shuffled anew.
        """
        told = self._read()
        split = Split([], [])
        # Those that were seen first: they decide for all pictures of their patients.
        for correction in sorted(corrections, key=lambda each: each.pixels not in seen):
            held = self._is_held(correction, told, seen)
            noted = told["held" if held else "trained"]
            for key in _keys(correction):
                noted.setdefault(key, iso_time())
            if not held:
                split.training.append(correction)
            elif correction.pixels not in seen:
                split.held.append(correction)
        if corrections:
            self._write(told)
        return split

    def size(self, pixels: Iterable[str]) -> int:
        """How many of these pictures (SHA-256 of their pixels) are held out. Raises StoreError as `split`."""
        held = self._read()["held"]
        return sum(_hash(f"pixels {each}") in held for each in pixels)

    def _is_held(self, correction: "Correction", told: dict[str, Any], seen: Seen) -> bool:
        keys = _keys(correction)
        if any(key in told["held"] for key in keys):
            return True
        if any(key in told["trained"] for key in keys) or correction.pixels in seen:
            return False
        return int(keys[0], 16) % ONE_IN == 0

    def _read(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {"held": {}, "trained": {}}
        try:
            told = from_json(self._path.read_bytes(), str(self._path))
            return {"held": dict(told["held"]), "trained": dict(told["trained"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._path} is damaged: it says which pictures never train a model. Put a copy of it back, or "
                "delete it: then the hold-out is chosen anew."
            ) from error

    def _write(self, told: dict[str, Any]) -> None:
        with told_of_failure("the list of held-out pictures"):
            make_folder(self._path.parent)
            write_whole(self._path, to_json(told), self._path.parent)


def _keys(correction: "Correction") -> list[str]:
    """Hex hashes of what a picture is known by, the one that decides first."""
    known = [f"patient {correction.patient}"] if correction.patient else []
    return [_hash(key) for key in (*known, f"pixels {correction.pixels}")]


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
