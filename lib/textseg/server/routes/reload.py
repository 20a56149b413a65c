"""/reload: the app built anew, without a moment in which there is none."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.utils import app as served
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

logger = logging.getLogger(__name__)


def reload_router() -> APIRouter:
    """POST /reload, for administrators."""
    one_at_a_time = threading.Lock()
    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    router = APIRouter(tags=["App"], dependencies=[admin])

    @router.post("/reload", include_in_schema=False)
    def reload() -> dict[str, str]:
        """Build the app anew and serve it; when it cannot be built, the present one goes on."""
        if not one_at_a_time.acquire(blocking=False):
            raise HTTPException(429, "The app is being built anew already. Wait until that is done.")
        try:
            replace_app(build_app)
        except Exception as error:
            logger.exception("The app cannot be built anew; the present one goes on")
            sentence = "The app cannot be built anew; the one before goes on. The server's log says why."
            raise HTTPException(503, sentence, {"Retry-After": "60"}) from error
        finally:
            one_at_a_time.release()
        return {}

    return router


def build_app() -> MONAILabelApp:
    """A new app, as MONAI Label itself makes it, but not yet the one that is served."""
    main = Path(settings.MONAI_LABEL_APP_DIR) / "main.py"
    kind = get_class_of_subclass_from_file("main", str(main), "MONAILabelApp")
    return kind(
        app_dir=settings.MONAI_LABEL_APP_DIR, studies=settings.MONAI_LABEL_STUDIES, conf=settings.MONAI_LABEL_APP_CONF
    )


def replace_app(build: Callable[[], Any]) -> None:
    """Serve what `build` makes, made ready, and close what was served before. What goes wrong in it changes nothing."""
    new = build()
    try:
        new.server_mode(True)
        if hasattr(new, "on_reloaded"):
            new.on_reloaded()
    except Exception:
        _close(new)
        raise
    key = f"{settings.MONAI_LABEL_APP_DIR}{settings.MONAI_LABEL_STUDIES}"  # MONAI Label's own
    old = served.apps.get(key)
    served.apps[key] = new  # never empty in between: whoever asks then would build a third one
    _close(old)


def _close(instance: Any) -> None:
    try:
        if hasattr(instance, "close"):
            instance.close()
    except Exception:
        logger.exception("The app of before could not be closed")
