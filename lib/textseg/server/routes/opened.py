"""The list of what is open: the addresses of the app's own routers and /openapi.json, nothing else of MONAI Label."""

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from monailabel.config import settings


def open_routes(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Replace every route and mount of the app, but /openapi.json, by those of `routers`.

    May be called before the app has started, in its lifespan and while it serves; called again, it replaces again.
    """
    kept = [route for route in app.router.routes if getattr(route, "path", None) == app.openapi_url]
    before = len(app.router.routes)
    for router in routers:
        app.include_router(router, prefix=settings.MONAI_LABEL_API_STR)
    # In one step, so that a request meanwhile finds the old list or the new one.
    app.router.routes = kept + app.router.routes[before:]
    app.openapi_schema = None
    app.middleware_stack = None  # built anew for the next request
