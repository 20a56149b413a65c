"""POST /activelearning/{strategy}: the next picture, and who was given it."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance

from textseg.data.store.clients import Client
from textseg.errors import OptionError, PictureError, PictureNotFound
from textseg.server.caller import current_caller
from textseg.server.http_errors import told_to_the_client
from textseg.server.studies import Studies
from textseg.text.hints import shown

NOTHING_LEFT = "Every picture has a final label: none is left. Add pictures to the studies, or open one by its name."
TRIES = 100  # pictures that cannot be opened are passed over


def activelearning_router() -> APIRouter:
    """The route."""
    router = APIRouter(tags=["ActiveLearning"])
    role = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))

    nothing_left = {404: {"description": "None is left"}}

    @router.post("/activelearning/{strategy}", summary="The next picture to label", responses=nothing_left)
    def next_sample(
        strategy: str, params: Annotated[dict[str, Any] | None, Body()] = None, _: User = role
    ) -> dict[str, Any]:
        """With its prompt, its score and why it was chosen. None left: `message` alone; 404 without a client_id."""
        params = params or {}
        with told_to_the_client():
            return _next(strategy, params, str(params.get("client_id") or ""))

    return router


def _next(strategy: str, params: dict[str, Any], client_id: str) -> dict[str, Any]:
    app = app_instance()
    strategies = app.next_pictures.strategies
    if strategy not in strategies:
        raise OptionError(f"There is no strategy {shown(strategy)}. There are: {', '.join(strategies)}.")
    for _ in range(TRIES):
        try:
            sample = app.next_sample({**params, "strategy": strategy})
        except (HTTPException, PictureError):  # one that cannot be opened; it is not offered again
            continue
        break
    else:
        raise PictureError("The pictures that are left cannot be opened. The server's log names them.")
    if not sample:
        return _nothing_left("client_id" in params)
    datastore, image_id = app.datastore(), sample["id"]
    info = datastore.get_image_info(image_id)
    before = info.get("strategy")
    given = {**(before if isinstance(before, dict) else {}), strategy: {"ts": int(time.time()), "client_id": client_id}}
    if isinstance(datastore, Studies):
        datastore.give(Client(client_id, current_caller().address), image_id, given)
    else:
        datastore.update_image_info(image_id, {"strategy": given})
    return {**info, **sample, "strategy": given}


def _nothing_left(is_slicer: bool) -> dict[str, Any]:
    """Slicer shows a dialog of its own for an answer without id; OHIF would open it, so it gets an error to show."""
    if not is_slicer:
        raise PictureNotFound(NOTHING_LEFT)
    return {"message": NOTHING_LEFT}
