"""POST /infer/{model}: a prompt in, a mask out. In the thread pool, so that the server answers others meanwhile."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.convert import nifti_to_dicom_seg
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from requests_toolbelt import MultipartEncoder

from textseg.errors import DataError, OptionError, PictureNotFound
from textseg.imaging.kinds import check_kind, suffix_of
from textseg.server.http_errors import told_to_the_client
from textseg.server.params import read_params
from textseg.server.routes.uploads import uploaded_file, user_name
from textseg.text.hints import shown

ANSWERS = {
    200: {"content": {"multipart/form-data": {}, "application/json": {}, "application/octet-stream": {}}},
    404: {"description": "No such picture, session or model"},
    422: {"description": "The prompt or an option cannot be used"},
    503: {"description": "Busy, or the disk is full"},
}


class Output(StrEnum):
    """What the answer holds: the mask's file, the reply as JSON, both, or the mask as DICOM SEG."""

    IMAGE = "image"
    JSON = "json"
    ALL = "all"
    DICOM_SEG = "dicom_seg"


def infer_router() -> APIRouter:
    """The route. Each app has a queue of its own."""
    router = APIRouter(tags=["Infer"])
    role = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))

    @router.post("/infer/{model}", summary="Segment one picture", responses=ANSWERS, response_model=None)
    def infer(
        model: str,
        image: str = "",
        session_id: str = "",
        params: Annotated[str, Form()] = "{}",
        file: Annotated[UploadFile | None, File()] = None,
        label: Annotated[UploadFile | None, File()] = None,
        output: Annotated[Output | None, Query()] = None,
        user: User = role,
    ) -> Response:
        """params: JSON with `prompt` and the other options. label is taken and not used: the models read text."""
        app = app_instance()
        with told_to_the_client():
            options = {**read_params(params), "model": model, "image": image, **user_name(user)}
            options.pop("session", None)
            with _uploaded(file) as uploaded, app.infer_queue.turn():
                request = _with_picture(app, options, session_id, uploaded)
                result = app.infer(request)
                return _answer(app, result, output or Output.ALL, options)

    return router


def _with_picture(
    app: MONAILabelApp, options: dict[str, Any], session_id: str, uploaded: Path | None
) -> dict[str, Any]:
    """The request with its picture: an upload, a session's, or one of the studies."""
    options.pop("uploaded", None)
    if session_id:
        session = app.sessions().get_session(session_id) if app.sessions() is not None else None
        if session is None:
            raise PictureNotFound(
                f"There is no session {shown(session_id)}; it may have expired. Send the picture again."
            )
        return {**options, "image": session.image, "session": session.to_json()}
    if uploaded is not None:
        return {**options, "uploaded": uploaded}
    if not options["image"]:
        raise OptionError("No picture was named. Give image, session_id or a file.")
    return options


@contextmanager
def _uploaded(file: UploadFile | None) -> Iterator[Path | None]:
    """A picture that came with the request, as a file for as long as it takes."""
    if file is None:
        yield None
        return
    with uploaded_file(file) as path:
        check_kind(path)
        yield path


def _answer(app: MONAILabelApp, result: dict[str, Any], output: Output, options: dict[str, Any]) -> Response:
    """The mask and the reply as the client wants them; the mask's file is removed."""
    path = Path(result["file"])
    try:
        if output is Output.JSON:
            return JSONResponse(result["params"])
        if output is Output.DICOM_SEG:
            return _dicom_seg(app, path, options)
        kind, data = get_mime_type(str(path)), path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    if output is Output.IMAGE:
        return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{path.name}"'})
    fields = {"params": (None, json.dumps(result["params"]), "application/json"), "image": (path.name, data, kind)}
    message = MultipartEncoder(fields=fields)
    return Response(message.to_string(), media_type=message.content_type)


def _dicom_seg(app: MONAILabelApp, mask: Path, options: dict[str, Any]) -> Response:
    """The mask as DICOM SEG, for pictures of a DICOMweb server, by MONAI Label's own converter."""
    if not isinstance(app.datastore(), DICOMWebDatastore):
        raise DataError("DICOM SEG is made only of pictures from a DICOMweb server. Ask for output=image.")
    if not isinstance(options.get("label_info"), list):
        raise OptionError("DICOM SEG needs label_info in params: a list of segments. Add it.")
    picture = Path(app.datastore().get_image_uri(str(options["image"])))
    series = picture.with_name(picture.name[: len(picture.name) - len(suffix_of(picture))])
    file = nifti_to_dicom_seg(str(series), str(mask), options["label_info"], use_itk=True)
    if not file:
        raise DataError("DICOM SEG cannot be made of this mask: it is empty. Ask for output=image.")
    data = Path(file).read_bytes()
    Path(file).unlink()
    return Response(data, media_type="application/dicom")
