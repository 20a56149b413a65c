"""POST /activelearning/{strategy}: the next picture, and who was given it."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance

from textseg.data.store.clients import Client
from textseg.errors import OptionError, PictureError
from textseg.server.caller import current_caller
from textseg.server.http_errors import told_to_the_client
from textseg.server.studies import Studies
from textseg.text.hints import shown

TRIES = 100  # pictures that cannot be opened are passed over


def activelearning_router() -> APIRouter:
    """The route."""
    router = APIRouter(tags=["ActiveLearning"])
    role = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))

    @router.post("/activelearning/{strategy}", summary="The next picture to label; {} when none is left")
    def next_sample(
        strategy: str, params: Annotated[dict[str, Any] | None, Body()] = None, _: User = role
    ) -> dict[str, Any]:
        params = params or {}
        with told_to_the_client():
            return _next(strategy, params, str(params.get("client_id") or ""))

    return router


def _next(strategy: str, params: dict[str, Any], client_id: str) -> dict[str, Any]:
    app = app_instance()
    strategies = app.info()["strategies"]
    if strategy not in strategies:
        raise OptionError(f"There is no strategy {shown(strategy)}. There are: {', '.join(strategies)}.")
    datastore = app.datastore()
    for _ in range(TRIES):
        try:
            sample = app.next_sample({**params, "strategy": strategy})
        except HTTPException:  # one that cannot be opened; it is not offered again
            continue
        break
    else:
        raise PictureError("The pictures that are left cannot be opened. The server's log names them.")
    if not sample:
        return {}
    image_id = sample["id"]
    info = datastore.get_image_info(image_id)
    before = info.get("strategy")
    given = {**(before if isinstance(before, dict) else {}), strategy: {"ts": int(time.time()), "client_id": client_id}}
    if isinstance(datastore, Studies):
        datastore.give(Client(client_id, current_caller().address), image_id, given)
    else:
        datastore.update_image_info(image_id, {"strategy": given})
    return {**info, **sample, "strategy": given}
