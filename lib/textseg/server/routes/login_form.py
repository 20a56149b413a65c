"""/textseg/login: the form by which a browser gets its token for the status page, where the server has a login."""

import asyncio
from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

from textseg.server.login import COOKIE, FORM, fetch_token, realm_of, user_behind
from textseg.server.status_page import POLICY

LONGEST = 3800  # bytes of a token: browsers drop a cookie of more than 4096, name and attributes included
HEADERS = {
    **POLICY,
    "Content-Security-Policy": POLICY["Content-Security-Policy"].replace("form-action 'none'", "form-action 'self'"),
    "Referrer-Policy": "same-origin",  # without a referrer browsers send the form from the origin `null`
}
TOO_LONG = (
    "Your login token is too long for a browser to keep. Ask whoever runs the login server to put less into it, or use "
    "textseg status on the server."
)
WELCOME = (
    "This server wants a login. What you write goes to its login server; the browser keeps a cookie with a token that "
    "ends soon, and nothing else."
)
ENDED = "Your login has ended: log in again."
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>textseg: log in</title><style>
body {{ max-width: 30em; margin: 3em auto; padding: 0 1em; font: 1em/1.45 sans-serif; color: #000; background: #fff }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit }}
input, button {{ margin: .2em 0 1em; padding: .4em; border: 1px solid #000 }}
</style></head><body>
<h1>textseg: log in</h1>
<p role="status">{sentence}</p>
<form method="post" action="login">
<label for="username">Name</label><input id="username" name="username" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Log in</button>
</form>
</body></html>
"""


def login_form_router() -> APIRouter:
    """GET and POST /textseg/login, for everybody."""
    router = APIRouter(prefix="/textseg", include_in_schema=False)
    router.add_api_route(f"/{FORM}", _form, methods=["GET"])
    router.add_api_route(f"/{FORM}", _log_in, methods=["POST"])
    return router


def _form(request: Request) -> Response:
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return _to_the_page()
    return _page(ENDED if COOKIE in request.cookies else WELCOME)


def _log_in(request: Request, username: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
    """To the page with a token that gets in there, or the form again with the reason."""
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return _to_the_page()
    try:
        token = fetch_token(username, password)["access_token"]
        asyncio.run(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)(user_behind(realm_of(request.app), token)))
    except HTTPException as error:
        return _page(error.detail, error.status_code)
    if len(token) > LONGEST:
        return _page(TOO_LONG, 502)
    answer = _to_the_page()
    # Without a path it holds for the folder of this address, as the browser sees it, also behind a proxy.
    answer.set_cookie(COOKIE, token, path=None, secure=request.url.scheme == "https", httponly=True, samesite="strict")
    return answer


def _page(sentence: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(sentence=escape(sentence)), status, HEADERS)


def _to_the_page() -> RedirectResponse:
    return RedirectResponse("./", 303, {"Cache-Control": "no-store"})
