"""What a batch has made, one JSON object per line: by it a batch that is started again knows what is left to do."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from textseg.data.store.durable import append_durably, from_json, to_json, told_of_failure

FILE = "made.jsonl"


@dataclass(frozen=True)
class Made:
    """One mask. key: a hash of all that it was made from. sha256: of its file.

    prompt: as written. read_as: what it was read as. pixels, cm2, ml: see `imaging.extent`. warnings: sentences.
    """

    picture: str
    key: str
    sha256: str
    prompt: str
    read_as: str
    model: str
    version: str
    pixels: int
    cm2: float | None
    ml: float | None
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Made":
        """From a line. Raises TypeError or KeyError for what is none."""
        known = {field.name: content[field.name] for field in fields(cls)}
        return cls(**{**known, "warnings": tuple(known["warnings"])})


class Journal:
    """The journal of one output folder; one process at a time uses it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._made: dict[str, list[Made]] = {}
        for made in self._read():
            self._made.setdefault(made.picture, []).append(made)

    @property
    def exists(self) -> bool:
        """False where no batch has begun yet."""
        return self._path.is_file()

    def begin(self) -> None:
        """From now on it is there. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()

    def last(self, picture: str) -> Made | None:
        """What was made of a picture last."""
        return self._made.get(picture, [None])[-1]

    def is_ours(self, picture: str, sha256: str) -> bool:
        """True for a mask that was made here, and not changed since."""
        return any(made.sha256 == sha256 for made in self._made.get(picture, []))

    def note(self, made: Made) -> None:
        """To be called before the mask is put in its place: one that nothing is noted of is somebody's own.

        Raises StoreError.
        """
        with told_of_failure("what was made"):
            append_durably(self._path, to_json(asdict(made)))
        self._made.setdefault(made.picture, []).append(made)

    def _read(self) -> list[Made]:
        """Damaged lines are left out: their masks count as somebody's own. Raises StoreError for a newer schema."""
        read = []
        for line in self._path.read_bytes().split(b"\n")[:-1] if self._path.is_file() else ():
            try:
                read.append(Made.of(from_json(line, self._path.name)))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
        return read
