"""What may name a picture or a label in a request: never a path."""

from pathlib import Path

from monailabel.interfaces.datastore import DefaultLabelTag

from textseg.errors import OptionError, PictureNotFound
from textseg.imaging.kinds import stem_of
from textseg.text.hints import shown

TAGS = (DefaultLabelTag.FINAL.value, DefaultLabelTag.ORIGINAL.value)


def check_picture_id(image_id: object) -> None:
    """Raises PictureNotFound for an id that is no plain name: a path, a parent folder, control characters."""
    plain = isinstance(image_id, str) and 0 < len(image_id.encode(errors="replace")) <= 240 and image_id.isprintable()
    if not plain or image_id.startswith(".") or "/" in image_id or "\\" in image_id:
        raise PictureNotFound(
            f"{shown(image_id)} is no picture of these studies: give the name of a picture in the list, not a path."
        )


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
