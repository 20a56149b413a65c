"""The list of what is open: the addresses of the app's own routers and /openapi.json, nothing else of MONAI Label."""

from collections.abc import Iterable
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from monailabel.config import settings
from starlette.exceptions import HTTPException

from textseg.server.caller import current_caller
from textseg.text.hints import shown


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
    app.exception_handlers[HTTPStatus.NOT_FOUND] = not_there
    app.exception_handlers[HTTPStatus.METHOD_NOT_ALLOWED] = not_there
    app.openapi_schema = None
    app.middleware_stack = None  # built anew for the next request, with these handlers and what is added until then


async def not_there(request: Request, error: HTTPException) -> JSONResponse:
    """404 and 405 in words: those of the route, or what a person can do where nobody wrote any."""
    detail = error.detail
    place = shown(request.url.path, 100)
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"There is nothing at {place} on this server. /openapi.json lists what there is."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} cannot be used at {place}. /openapi.json lists what can be."
    return JSONResponse({"detail": detail, "request_id": current_caller().request_id}, error.status_code, error.headers)
