"""/proxy/dicom: the DICOMweb archive that the studies are in, for the viewer, which may ask only this server."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import quote

import google.auth
import requests
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from google.auth.transport.requests import Request as GoogleRequest
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

RETRY_SECONDS = "10"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# Of one connection, not of the message. `requests` writes those of its own connection, and decodes what it receives.
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "content-length"),
}
NOT_SENT_ON = HOP_BY_HOP | {"host", "accept-encoding", "authorization", "cookie"}  # the last two are for this server
NOT_SENT_BACK = HOP_BY_HOP | {"content-encoding", "date", "server", "set-cookie"}
logger = logging.getLogger(__name__)


def proxy_router() -> APIRouter:
    """GET and POST /proxy/dicom/[wado|qido|stow/]{path}."""
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    router = APIRouter(prefix="/proxy", tags=["Others"], dependencies=[user])
    router.add_api_route("/dicom/{path:path}", ask_archive, methods=["GET", "POST"], include_in_schema=False)
    return router


async def whole_body(request: Request) -> bytes:
    """The request's body; asynchronous, as a plain endpoint cannot wait for it."""
    return await request.body()


def archive_address(path: str, request: Request) -> str:
    """Where the request goes on to; refused before its body is read."""
    return archive_url(settings.MONAI_LABEL_STUDIES, path, request.url.query)


def ask_archive(
    request: Request, url: Annotated[str, Depends(archive_address)], body: Annotated[bytes, Depends(whole_body)]
) -> Response:
    """One request passed on to the archive, and its answer passed back."""
    headers = _without(NOT_SENT_ON, request.headers.items()) if request.method == "POST" else {}
    with archive_asked():
        headers, login = _signed(headers)
        answer = requests.request(
            request.method,
            url,
            headers=headers,
            auth=login,
            data=body or None,
            timeout=settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT,
        )
    kept = _without(NOT_SENT_BACK, answer.headers.items())
    return Response(answer.content, answer.status_code, kept)


@contextmanager
def archive_asked() -> Iterator[None]:
    """An archive that does not answer, or refuses this server, inside the `with` becomes an HTTPException 503."""
    try:
        yield
    except (requests.RequestException, google.auth.exceptions.GoogleAuthError) as error:
        logger.warning("The DICOMweb archive does not answer: %s", error)
        sentence = "The DICOMweb archive with the studies does not answer. Try again later."
        raise HTTPException(503, sentence, {"Retry-After": RETRY_SECONDS}) from error


def archive_url(studies: str, path: str, query: str) -> str:
    """The archive's address for a path below /proxy/dicom. Raises HTTPException for one that leads elsewhere."""
    if not studies.startswith(("http://", "https://")):
        raise HTTPException(404, "The studies of this server lie in a folder: there is no DICOMweb archive to ask.")
    if {".", ".."} & set(path.split("/")):
        raise HTTPException(422, "The path of a DICOMweb request has no parts `.` or `..`.")
    service, divided, rest = path.partition("/")
    prefixes = {
        "wado": settings.MONAI_LABEL_WADO_PREFIX,
        "qido": settings.MONAI_LABEL_QIDO_PREFIX,
        "stow": settings.MONAI_LABEL_STOW_PREFIX,
    }
    prefix = None
    if divided and service in prefixes:
        path = rest
        # Some versions of OHIF ask for metadata as a search, which they are not.
        prefix = prefixes["wado" if service == "qido" and rest.endswith("metadata") else service]
    # The path arrives decoded. Sent on as it is, "%2e%2e" (once "%252e%252e") would become a step up.
    encoded = quote(path, safe="/:@!$&'()*+,;=~", errors="replace")
    return "/".join([studies.rstrip("/"), *([prefix] if prefix else []), encoded]) + (f"?{query}" if query else "")


def _signed(headers: dict[str, str]) -> tuple[dict[str, str], tuple[str, str] | None]:
    """The headers and the login that the archive asks for."""
    if "googleapis.com" in settings.MONAI_LABEL_STUDIES:
        credentials, _ = google.auth.default(scopes=[GOOGLE_SCOPE])
        credentials.refresh(GoogleRequest())
        return {**headers, "Authorization": f"Bearer {credentials.token}"}, None
    name, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return headers, ((name, password) if name and password else None)


def _without(names: set[str], headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in names}
