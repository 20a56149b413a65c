"""/textseg/: what is left to do, as a page, with small pictures of what is worth most to label."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.responses import HTMLResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.utils.app import app_instance

from textseg.errors import PictureNotFound
from textseg.server.facts import StudiesFacts, last_training, model_facts
from textseg.server.http_errors import told_to_the_client
from textseg.server.status import Status
from textseg.server.status_page import POLICY, status_page
from textseg.server.studies import Studies
from textseg.server.thumbnails import Thumbnails

BEST = 10
NO_STUDIES = "The pictures lie in a DICOMweb archive: no small ones are made of them."


class StatusRoutes:
    """What the page keeps between two requests, of the studies that are served."""

    def __init__(self) -> None:
        self._of: Datastore | None = None
        self._facts: StudiesFacts | None = None
        self._thumbnails: Thumbnails | None = None

    def page(self) -> HTMLResponse:
        """What is left to do."""
        return HTMLResponse(status_page(self.status(app_instance())), headers=POLICY)

    def thumbnail(self, image: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        """A small PNG of a picture with the edge of its mask so far."""
        self._look_at(app_instance().datastore())
        with told_to_the_client():
            if self._thumbnails is None:
                raise PictureNotFound(NO_STUDIES)
            tag = f'"{self._thumbnails.state(image)}"'
            headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
            if if_none_match == tag:
                return Response(status_code=304, headers=headers)
            return Response(self._thumbnails.png(image), media_type="image/png", headers=headers)

    def status(self, app: Any) -> Status:
        """The facts of an app."""
        self._look_at(app.datastore())
        served = (task.current for task in app._infers.values())
        models = tuple(model_facts(current.versions, current.served) for current in served)
        if self._facts is None:
            return Status(models, None)
        faults: list[str] = []
        pictures = self._facts.pictures(last_training(models), faults)
        return Status(models, pictures, self._facts.best(app.ranking.best(BEST)), tuple(faults))

    def _look_at(self, datastore: Datastore) -> None:
        if self._of is datastore:
            return
        facts = thumbnails = None
        if isinstance(datastore, Studies):
            facts = StudiesFacts(datastore.folder, datastore.list_images, datastore.keeping.table)
            thumbnails = Thumbnails(datastore, facts)
        self._facts, self._thumbnails, self._of = facts, thumbnails, datastore  # last: another request looks at it


def status_router() -> APIRouter:
    """GET /textseg/ and /textseg/thumbnail, for users."""
    routes = StatusRoutes()
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    router = APIRouter(prefix="/textseg", tags=["App"], dependencies=[user])
    router.add_api_route("/", routes.page, summary="What is left to do, as a page", response_class=HTMLResponse)
    router.add_api_route("/thumbnail", routes.thumbnail, summary="A small picture", response_class=Response)
    return router
