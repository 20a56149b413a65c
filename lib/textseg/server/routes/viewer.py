"""/ohif: the viewer that MONAI Label brings along. Its files, and its one page for every other address below it."""

import mimetypes
import re
from pathlib import Path

import monailabel.endpoints
from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

PAGE = "index.html"
ASSET = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,10}$")  # a study's uid ends in a dot and digits
# What a browser insists on; `mimetypes` reads the system's own table, which may say something else.
KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


def viewer_router() -> APIRouter:
    """GET /ohif/{path}."""
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    router = APIRouter(prefix="/ohif", tags=["Others"], dependencies=[user])
    router.add_api_route("/{path:path}", viewer_file, include_in_schema=False, response_class=FileResponse)
    return router


def viewer_file(path: str) -> FileResponse:
    """A file of the viewer; its page where there is none, as the viewer's own addresses are no files."""
    folder = (Path(monailabel.endpoints.__file__).parent / "static" / "ohif").resolve()
    file = _inside(folder, path)
    if file is None and not ASSET.search(path):
        file = _inside(folder, PAGE)
    if file is None:
        raise HTTPException(404, "The viewer has no such file.")
    kind = KINDS.get(file.suffix.lower()) or mimetypes.guess_type(file.name, strict=False)[0]
    return FileResponse(file, media_type=kind or "application/octet-stream")


def _inside(folder: Path, path: str) -> Path | None:
    """The file of that path, if it is one and lies in the folder."""
    try:
        file = (folder / path).resolve()
        return file if file.is_relative_to(folder) and file.is_file() else None
    except (OSError, ValueError):  # too long for a name, or not one at all
        return None
