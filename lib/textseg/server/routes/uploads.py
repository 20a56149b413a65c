"""Files that come with a request."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import UploadFile
from monailabel.config import settings
from monailabel.endpoints.user.auth import User

from textseg.data.store.durable import told_of_failure
from textseg.errors import PictureError
from textseg.server.temporary import temporary_folder

LONGEST_NAME = 200  # bytes


@contextmanager
def uploaded_file(file: UploadFile) -> Iterator[Path]:
    """An upload as a file under its own name, for as long as the `with` lasts.

    Of the name only what follows the last slash counts. Raises PictureError for one that cannot name a file.
    """
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2] or "upload"
    if not name.isprintable() or name.startswith("."):
        raise PictureError("The upload's file name cannot be used. Give the file a plain name with its suffix.")
    name = name.encode("utf-8", "replace").decode()
    if len(name.encode()) > LONGEST_NAME:
        raise PictureError(f"The upload's file name is longer than {LONGEST_NAME} bytes. Shorten it.")
    with temporary_folder() as folder:
        path = Path(folder) / name
        with told_of_failure("the upload"), path.open("wb") as copy:
            shutil.copyfileobj(file.file, copy, 1 << 20)
        yield path


def user_name(user: User) -> dict[str, str]:
    """Who is logged in, as what was sent with a label tells it; nothing without a login."""
    return {"user": user.username} if settings.MONAI_LABEL_AUTH_ENABLE else {}
