"""/datastore: pictures and labels up and down, as MONAI Label's clients ask for them. All in the thread pool."""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, File, Form, HTTPException, Query, UploadFile
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type

from textseg.data.store.clients import Client
from textseg.errors import PictureNotFound
from textseg.server.caller import current_caller
from textseg.server.http_errors import told_to_the_client
from textseg.server.params import read_params
from textseg.server.routes.uploads import uploaded_file, user_name
from textseg.server.studies import Studies

Tag = Annotated[str, Query(description="final or original")]


class Listed(StrEnum):
    """What GET /datastore/ tells."""

    TRAIN = "train"
    STATS = "stats"
    ALL = "all"


def datastore_router() -> APIRouter:
    """All routes; the deprecated ones that stock clients still use are the same functions."""
    router = APIRouter(tags=["Datastore"])
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    annotator = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    for path, method, endpoint, role in (
        ("/datastore/", "GET", listed, user),
        ("/datastore/", "PUT", add_image, None),
        ("/datastore/image", "PUT", add_image, None),
        ("/datastore/", "DELETE", remove_image, admin),
        ("/datastore/image", "DELETE", remove_image, admin),
        ("/datastore/image", "HEAD", check_image, user),
        ("/datastore/image", "GET", download_image, user),
        ("/datastore/image/info", "GET", image_info, user),
        ("/datastore/image/info", "PUT", update_image_info, annotator),
        ("/datastore/label", "PUT", save_label, None),
        ("/datastore/label", "DELETE", remove_label, admin),
        ("/datastore/label", "HEAD", check_label, user),
        ("/datastore/label", "GET", download_label, user),
        ("/datastore/label/info", "GET", label_info, user),
        ("/datastore/label/info", "PUT", update_label_info, annotator),
        ("/datastore/updatelabelinfo", "PUT", update_label_params, annotator),
        ("/datastore/dataset", "GET", download_dataset, annotator),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            dependencies=[role] if role else [],
            response_model=None,
            operation_id=f"{method.lower()}_{path.strip('/').replace('/', '_')}",
            include_in_schema=path not in ("/datastore/updatelabelinfo",),
        )
    return router


def listed(output: Listed = Listed.STATS) -> Any:
    """How many pictures and labels there are; all of them; or the pairs to train on."""
    datastore = _datastore()
    if output is Listed.ALL:
        return datastore.json()
    return datastore.datalist() if output is Listed.TRAIN else datastore.status()


def add_image(
    file: Annotated[UploadFile, File()],
    image: str | None = None,
    params: Annotated[str, Form()] = "{}",
    user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)),  # noqa: B008
) -> dict[str, str]:
    """A new picture. Nothing is replaced: the same one again changes nothing, another of that name is refused."""
    with told_to_the_client(), uploaded_file(file) as path:
        info = {**read_params(params), **user_name(user)}
        return {"image": _datastore().add_image(image or "", str(path), info)}


def remove_image(id: str) -> dict[str, str]:
    """Move a picture and its labels into the trash."""
    _datastore().remove_image(id)
    return {}


def check_image(image: str, check_sum: str | None = None) -> dict[str, str]:
    """Is it there, and, where `check_sum` is given (ALGORITHM:DIGEST, SHA256 by default), the same file?"""
    path = _image(image)
    if check_sum and not _has_digest(path, check_sum):
        raise HTTPException(404, "The picture is there, but it is another file. Download it anew.")
    return {}


def download_image(image: str) -> FileResponse:
    """The picture's file as a viewer opens it."""
    return _file(_image(image))


def image_info(image: str) -> dict[str, Any]:
    """What is known of a picture."""
    return _datastore().get_image_info(image)


def update_image_info(image: str, info: Annotated[str, Form()] = "{}") -> None:
    """Add to what is known of a picture."""
    with told_to_the_client():
        _datastore().update_image_info(image, read_params(info, "info"))


def save_label(
    image: str,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: Tag = "final",
    user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)),  # noqa: B008
) -> dict[str, Any]:
    """A label by a person. The reply tells the prompt of every segment, what was left out, and what was mended."""
    app, datastore = app_instance(), _datastore()
    with told_to_the_client(), uploaded_file(label) as path:
        info = {**read_params(params), **user_name(user)}
        told: dict[str, Any] = {}
        if isinstance(datastore, Studies):
            client = Client(str(info.get("client_id") or ""), current_caller().address)
            told, label_id = datastore.submit(image, path, tag or "final", info, client).reply(), image
        else:
            label_id = datastore.save_label(image, str(path), tag or "final", info)
    return {**told, **(app.on_save_label(image, label_id) or {}), "image": image, "label": label_id}


def remove_label(id: str, tag: Tag) -> dict[str, str]:
    """Move a label and all its versions into the trash."""
    _datastore().remove_label(id, tag)
    return {}


def check_label(image: str, tag: Tag) -> dict[str, str]:
    """Is it there?"""
    _label(image, tag)
    return {}


def download_label(label: str, tag: Tag) -> FileResponse:
    """The current version of a label."""
    return _file(_label(label, tag))


def label_info(label: str, tag: Tag) -> dict[str, Any]:
    """Who, when, which version, which prompts."""
    return _datastore().get_label_info(label, tag)


def update_label_info(label: str, tag: Tag, info: Annotated[str, Form()] = "{}") -> None:
    """Add to what was sent with a label; kept as a new version."""
    with told_to_the_client():
        _datastore().update_label_info(label, tag, read_params(info, "info"))


def update_label_params(label: str, tag: Tag, params: Annotated[str, Form()] = "{}") -> None:
    """The older name of `update_label_info`."""
    update_label_info(label, tag, params)


def download_dataset(
    background: BackgroundTasks, limit_cases: Annotated[int | None, Query(ge=1)] = None
) -> FileResponse:
    """All labelled pictures with their final labels, as one zip file."""
    path = Path(_datastore().get_dataset_archive(limit_cases))
    background.add_task(path.unlink, missing_ok=True)
    return FileResponse(path, media_type="application/zip", filename="dataset.zip")


def _datastore() -> Datastore:
    return app_instance().datastore()


def _image(image: str) -> Path:
    path = Path(_datastore().get_image_uri(image))
    return _there(path, "picture")


def _label(label: str, tag: str) -> Path:
    return _there(Path(_datastore().get_label_uri(label, tag)), "label")


def _there(path: Path, kind: str) -> Path:
    with told_to_the_client():
        if not path.is_file():
            raise PictureNotFound(f"There is no such {kind}. Refresh the list of pictures.")
    return path


def _file(path: Path) -> FileResponse:
    return FileResponse(path, media_type=get_mime_type(str(path)), filename=path.name)


def _has_digest(path: Path, check_sum: str) -> bool:
    algorithm, _, digest = check_sum.rpartition(":")
    known = {"": "sha256", "SHA256": "sha256", "SHA512": "sha512", "MD5": "md5"}.get(algorithm.upper())
    if known is None:
        raise HTTPException(422, "check_sum is DIGEST, or SHA256, SHA512 or MD5, a colon and the digest. Correct it.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, known).hexdigest() == digest.lower()
