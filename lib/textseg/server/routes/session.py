"""/session: pictures that a client sends for itself alone, as MONAI Label's clients send them."""

import mimetypes
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.sessions import SessionInfo, Sessions
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException

from textseg.errors import OptionError, StoreError
from textseg.server.http_errors import told_to_the_client
from textseg.text.hints import shown

MAX_FILES = 2000  # in one session: the slices of a series
MAX_NAME = 200  # bytes of a file's name
TOLD = ("name", "expiry", "create_ts", "last_access_ts")  # of a session; where it lies is the server's own
UPLOAD_SCHEMA = {
    "type": "object",
    "required": ["files"],
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
UPLOAD = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": UPLOAD_SCHEMA}}}}


def session_router() -> APIRouter:
    """GET, PUT and DELETE /session."""
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    router = APIRouter(prefix="/session", tags=["Session"], dependencies=[user])
    router.add_api_route("/{session_id}", get_session, summary="Get Session ID", response_model=None)
    router.add_api_route(
        "/", create_session, methods=["PUT"], summary="Create new session with Image", openapi_extra=UPLOAD
    )
    router.add_api_route("/{session_id}", remove_session, methods=["DELETE"], summary="Delete Session")
    return router


def get_session(session_id: str, update_ts: bool = False, image: bool = False) -> FileResponse | dict[str, Any]:
    """What is known of a session; with `image`, its picture."""
    session = _found(_sessions(), session_id, update_ts)
    if not image:
        return _told(session)
    path = Path(session.image)
    if not path.is_file():
        raise HTTPException(422, "This session has several files, which cannot be sent as one picture.")
    kind = mimetypes.guess_type(path.name, strict=False)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=path.name, headers={"X-Content-Type-Options": "nosniff"})


async def uploads(request: Request) -> AsyncIterator[list[UploadFile]]:
    """The files of the request's form: more of them than FastAPI itself would take."""
    try:
        form = await request.form(max_files=MAX_FILES)
    except (StarletteHTTPException, ValueError) as error:
        reason = getattr(error, "detail", "it is damaged")
        raise HTTPException(422, f"The upload cannot be read: {reason}") from error
    except OSError as error:
        raise HTTPException(503, "The server's disk does not take this upload. Try later.") from error
    try:
        yield [file for file in form.getlist("files") if isinstance(file, UploadFile)]
    finally:
        await form.close()


def create_session(
    files: Annotated[list[UploadFile], Depends(uploads)], uncompress: bool = False, expiry: int = 0
) -> dict[str, Any]:
    """A new session with the files sent: one picture, or the slices of one series."""
    sessions = _sessions()
    with told_to_the_client(), tempfile.TemporaryDirectory(prefix="textseg-", ignore_cleanup_errors=True) as folder:
        if uncompress:
            raise OptionError("Archives are not unpacked here: send the picture's own files, without `uncompress`.")
        received = _received(files, Path(folder) / "pictures")
        session_id, session = sessions.add_session(str(received), expiry)
    return {"session_id": session_id, "session_info": _told(session)}


def remove_session(session_id: str) -> dict[str, Any]:
    """Takes a session and its pictures away."""
    sessions = _sessions()
    session = _found(sessions, session_id, update_ts=False)
    sessions.remove_session(session_id)
    return _told(session)


def plain_names(sent: Sequence[str | None]) -> list[str]:
    """File names of an upload -> names for one folder: no path, nothing unprintable, nothing hidden, all different."""
    names = []
    for number, name in enumerate(sent, 1):
        last = "".join(letter if letter.isprintable() else "_" for letter in re.split(r"[/\\]", name or "")[-1])
        names.append(last.encode()[-MAX_NAME:].decode(errors="ignore").strip(" .") or f"picture-{number}")
    if len(set(names)) == len(names):
        return names
    return [f"{number}-{name}" for number, name in enumerate(names, 1)]


def _received(files: Sequence[UploadFile], folder: Path) -> Path:
    """The files as sent, written into `folder`: the one file, or the folder of several."""
    if not files:
        raise OptionError("No picture was sent: the form field `files` takes one file or several.")
    try:
        folder.mkdir()
        paths = [folder / name for name in plain_names([file.filename for file in files])]
        for file, path in zip(files, paths, strict=True):
            with path.open("xb") as received:
                shutil.copyfileobj(file.file, received)
    except OSError as error:
        raise StoreError("The server's disk does not take this upload. Try later.") from error
    return paths[0] if len(paths) == 1 else folder


def _sessions() -> Sessions:
    sessions = app_instance().sessions()
    if sessions is None:
        raise HTTPException(406, "Sessions are switched off on this server (MONAI_LABEL_SESSIONS).")
    return sessions


def _found(sessions: Sessions, session_id: str, update_ts: bool) -> SessionInfo:
    session = sessions.get_session(session_id, update_ts=update_ts)
    if session is None:
        raise HTTPException(404, f"There is no session {shown(session_id, 60)} here; it may have expired.")
    return session


def _told(session: SessionInfo) -> dict[str, Any]:
    return {key: getattr(session, key) for key in TOLD}
