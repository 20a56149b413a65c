"""What may name a label in a request, and how files get their ids."""

from pathlib import Path

from textseg.data.store.shown import TAGS
from textseg.errors import OptionError
from textseg.imaging.kinds import stem_of
from textseg.text.hints import shown


def check_tag(tag: object) -> str:
    """`tag` itself; raises OptionError for a label tag that MONAI Label does not know: it names a folder."""
    if tag not in TAGS:
        raise OptionError(f"A label's tag is one of {', '.join(TAGS)}, not {shown(tag)}.")
    return tag


def id_of(path: Path) -> str:
    """The picture id that a file or series folder has."""
    return path.name if path.is_dir() else stem_of(path)


def literal(name: str) -> str:
    """The name with glob's special characters made harmless."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
