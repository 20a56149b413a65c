"""What may name a picture: never a path."""

from textseg.errors import PictureNotFound
from textseg.text.hints import shown


def check_picture_id(image_id: object) -> None:
    """Raises PictureNotFound for an id that is no plain name: a path, a parent folder, control characters."""
    plain = isinstance(image_id, str) and 0 < len(image_id.encode(errors="replace")) <= 240 and image_id.isprintable()
    if not plain or image_id.startswith(".") or "/" in image_id or "\\" in image_id:
        raise PictureNotFound(
            f"{shown(image_id)} is no picture of these studies: give the name of a picture in the list, not a path."
        )
