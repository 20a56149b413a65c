"""What a prompt says, as data: which lung, which zones, how many areas. Always in patient sides.

Radiologists speak of the patient's side; the public sentences speak of the picture's side. A Finding holds the
patient's side only. Picture sides exist at two doors: data-set readers (`prompt.read_prompt(..., "picture")`) and the
networks (`eight_numbers`).
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from textseg.errors import DataError

SCHEMA = 1
ZONES = ("upper", "middle", "lower")
CERTAINTIES = ("definite", "probable", "possible")


@dataclass(frozen=True)
class Finding:
    """An immutable, comparable reading of a prompt.

    left, right: zones of the patient's left and right lung, a sub-sequence of upper, middle, lower (craniocaudal
    thirds). Both empty and nothing absent means *anywhere*.
    count: number of separate infected areas, 1 or more; None when the prompt does not say.
    absent: the prompt denies any finding; absent_left, absent_right: it denies one in that lung.
    certainty: definite, probable or possible.
    unread: words that were not understood, as typed, in their order.

    Raises DataError for a zone, count or certainty outside these ranges.
    """

    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    count: int | None = None
    absent: bool = False
    absent_left: bool = False
    absent_right: bool = False
    certainty: str = "definite"
    unread: tuple[str, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "left", _zones(self.left))
        object.__setattr__(self, "right", _zones(self.right))
        object.__setattr__(self, "unread", tuple(self.unread))
        if self.count is not None and (isinstance(self.count, bool) or not isinstance(self.count, int)):
            raise DataError(f"A finding's count is a whole number or null, not {self.count!r}.")
        if self.count is not None and self.count < 1:
            raise DataError(f"A finding's count is 1 or more, not {self.count}; say `absent` for none.")
        if self.certainty not in CERTAINTIES:
            raise DataError(f"A finding's certainty is one of {', '.join(CERTAINTIES)}, not {self.certainty!r}.")

    @property
    def anywhere(self) -> bool:
        """True when no location is given and nothing is denied."""
        return not (self.left or self.right or self.absent or self.absent_left or self.absent_right)

    @property
    def nothing(self) -> bool:
        """True when any finding is denied, in the whole or in both lungs."""
        return self.absent or (self.absent_left and self.absent_right)

    @property
    def two_sided(self) -> bool:
        """True when both lungs are named."""
        return bool(self.left and self.right)

    def mirrored(self) -> "Finding":
        """The finding of the picture flipped left to right; also patient side <-> picture side."""
        return replace(
            self,
            left=self.right,
            right=self.left,
            absent_left=self.absent_right,
            absent_right=self.absent_left,
        )

    def upended(self) -> "Finding":
        """The finding of the picture flipped top to bottom: upper and lower change places."""
        return replace(self, left=_upended(self.left), right=_upended(self.right))

    def only(self, side: str, count: int | None = None) -> "Finding":
        """The same finding asked for one lung (`side` is "left" or "right", the patient's)."""
        other = "right" if side == "left" else "left"
        return replace(self, **{other: (), f"absent_{other}": False}, count=count)

    def located(self) -> "Finding":
        """The same finding with its places spelt out: no place but one lung denied means the whole other lung."""
        if self.left or self.right or self.absent_left == self.absent_right:
            return self
        return replace(self, **{"right" if self.absent_left else "left": ZONES})

    def without_zones(self) -> "Finding":
        """Sides kept, zones forgotten: each named lung as a whole (used on CT)."""
        return replace(self, left=ZONES if self.left else (), right=ZONES if self.right else ())

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; lists for zones and unread words."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Finding":
        """The inverse of `to_json`. Raises DataError for unknown keys or a newer schema."""
        if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
            raise DataError("A stored finding is a JSON object with a `schema` number.")
        if data["schema"] > SCHEMA:
            raise DataError(f"This finding has schema {data['schema']}; this version reads {SCHEMA}. Update textseg.")
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise DataError(f"A stored finding has unknown keys: {', '.join(sorted(unknown))}.")
        try:
            return cls(**data)
        except TypeError as error:
            raise DataError(f"A stored finding has a value of the wrong type ({error}).") from error


def _zones(zones: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    unknown = [zone for zone in zones if zone not in ZONES]
    if unknown:
        raise DataError(f"A finding's zones are {', '.join(ZONES)}, not {unknown[0]!r}.")
    return tuple(zone for zone in ZONES if zone in zones)


def _upended(zones: tuple[str, ...]) -> tuple[str, ...]:
    turned = {"upper": "lower", "middle": "middle", "lower": "upper"}
    return tuple(turned[zone] for zone in zones)
