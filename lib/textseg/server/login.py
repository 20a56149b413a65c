"""MONAI Label's login, made to work: tokens of the realm (Keycloak, OpenID Connect) verified with the realm's key.

As shipped, MONAI Label decodes tokens without naming algorithms, which PyJWT refuses, so every token got 401. Here:
the signature is verified with the realm's public key, by RS256, RS384 or RS512 alone; `exp` must be there. `iss`, when
it is there, must be the realm: the address in MONAI_LABEL_AUTH_REALM_URI or the issuer that the realm says it is,
because a realm reached by an inner address signs with its public one. A token without `iss` passes: the key is the
realm's own and proves as much. The audience is not checked, as in MONAI Label: realms name other clients there.
A browser that looks at the status page has its token in a cookie, which counts for reading that page alone.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints.user.auth import DEFAULT_USER, Token, User, get_current_user

from textseg.server.realm import Realm, RealmUnreachable, ask_realm, discover

# What a realm answers when the server, not the person, is at fault.
SERVERS_FAULT = ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope")
RETRY_SECONDS = 5
COOKIE, PAGE, FORM = "textseg_login", "/textseg/", "login"
logger = logging.getLogger(__name__)


def install_login(app: FastAPI) -> None:
    """Tokens are read here instead of in MONAI Label, by all its routes. May be called again."""
    app.state.textseg_realm = Realm()
    app.dependency_overrides[get_current_user] = user_of(realm_of(app))


def realm_of(app: FastAPI) -> Realm:
    """The realm whose tokens get into an app, after `install_login`."""
    return app.state.textseg_realm


def user_of(realm: Realm) -> Callable[[Request], User]:
    """The dependency that takes the place of MONAI Label's get_current_user."""

    # Not async: fetching the realm's key waits, and a plain function waits in the threadpool.
    def current_user(request: Request) -> User:
        if not settings.MONAI_LABEL_AUTH_ENABLE:
            return DEFAULT_USER
        try:
            return user_behind(realm, _token(request))
        except HTTPException as error:
            raise (_to_the_form() if error.status_code == 401 and _is_browser(request) else error) from error

    return current_user


def user_behind(realm: Realm, token: str) -> User:
    """Whom a token is of. Raises HTTPException 401 for one that is not valid, 503 where the realm does not answer."""
    return _user(_claims(realm, token))


def login_router() -> APIRouter:
    """GET /auth/, POST /auth/token, GET /auth/token/valid, as MONAI Label's clients know them, in place of its own."""
    router = APIRouter(prefix="/auth", tags=["Auth"])
    router.add_api_route("/", _auth_enabled, methods=["GET"], summary="Check If Auth is Enabled")
    router.add_api_route("/token", _access_token, methods=["POST"], response_model=Token, summary="Fetch a token")
    router.add_api_route("/token/valid", _valid_token, methods=["GET"], summary="Check If current token is Valid")
    return router


def _auth_enabled() -> dict[str, Any]:
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return {"enabled": False, "client_id": None, "realm": None}
    return {
        "enabled": True,
        "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID,
        "realm": settings.MONAI_LABEL_AUTH_REALM_URI,
    }


def _access_token(form: OAuth2PasswordRequestForm = Depends()) -> dict[str, Any]:  # noqa: B008, FastAPI's own way
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        raise HTTPException(404, "This server has no login: ask it without a token.")
    return fetch_token(form.username, form.password)


def fetch_token(username: str, password: str) -> dict[str, str]:
    """access_token and token_type of the realm. Raises HTTPException 401 for a wrong password, 503 without a realm."""
    data = {
        "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID,
        "username": username,
        "password": password,
        "grant_type": "password",
    }
    try:
        status, answer = ask_realm("POST", _token_address(), data)
    except RealmUnreachable as error:
        raise _no_realm(error) from error
    if status == 200 and isinstance(answer.get("access_token"), str):
        return {"access_token": answer["access_token"], "token_type": str(answer.get("token_type") or "bearer")}
    raise _refused_login(status, answer)


def _valid_token(user: User = Depends(get_current_user)) -> dict[str, Any]:  # noqa: B008
    return user.model_dump()


def _token_address() -> str:
    address = discover(settings.MONAI_LABEL_AUTH_REALM_URI).get("token_endpoint")
    if not isinstance(address, str):
        raise RealmUnreachable("it does not say where tokens are fetched")
    return address


def _refused_login(status: int, answer: Mapping[str, Any]) -> HTTPException:
    if status in (400, 401, 403) and answer.get("error") not in SERVERS_FAULT:
        return _not_let_in("Name or password is wrong, or the account is locked: check both and try again.")
    # The realm's own code (invalid_client ...), never what it was sent.
    return _no_realm(RealmUnreachable(f"it answers a login with status {status}"))


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    token = request.cookies.get(COOKIE, "") if _is_of_page(request) else ""
    if not token:
        raise _not_let_in("This server wants a login: log in with your name and password, and ask again.")
    return token


def _is_of_page(request: Request) -> bool:
    """Whether the status page or one of its pictures is looked at: nothing else is open to a cookie."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return request.method == "GET" and path.startswith(f"{settings.MONAI_LABEL_API_STR}{PAGE}")


def _is_browser(request: Request) -> bool:
    """Whether a person opened the page, who can fill in a form."""
    opened = request.scope["path"].endswith(PAGE) and "authorization" not in request.headers
    return opened and _is_of_page(request) and "text/html" in request.headers.get("accept", "")


def _to_the_form() -> HTTPException:
    return HTTPException(303, "Log in first.", {"Location": FORM, "Cache-Control": "no-store"})


def _claims(realm: Realm, token: str) -> dict[str, Any]:
    try:
        return realm.claims(token)
    except RealmUnreachable as error:
        raise _no_realm(error) from error
    except jwt.ExpiredSignatureError as error:
        raise _not_let_in("Your login has expired: log in again.") from error
    # A token may hold any JSON: numbers beyond Python's, brackets beyond its stack.
    except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError, TypeError) as error:
        logger.info("a token was refused: %s", type(error).__name__)
        raise _not_let_in("Your login token is not one of this server's realm, or is damaged: log in again.") from error


def _user(claims: Mapping[str, Any]) -> User:
    name = _text(claims, settings.MONAI_LABEL_AUTH_TOKEN_USERNAME) or _text(claims, "sub")
    if not name:
        raise _not_let_in("Your login token names no user: ask whoever runs the realm to put the name into its tokens.")
    return User(
        username=name,
        email=_text(claims, settings.MONAI_LABEL_AUTH_TOKEN_EMAIL),
        name=_text(claims, settings.MONAI_LABEL_AUTH_TOKEN_NAME),
        roles=_roles(claims),
    )


def _roles(claims: Mapping[str, Any]) -> list[str]:
    """What lies at the path of the setting (realm_access#roles); nothing there is no roles, which RBAC refuses."""
    found: Any = claims
    for step in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        found = found.get(step) if isinstance(found, dict) else None
    return [role for role in found if isinstance(role, str)] if isinstance(found, list) else []


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) else None


def _not_let_in(sentence: str) -> HTTPException:
    return HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})


def _no_realm(error: RealmUnreachable) -> HTTPException:
    logger.warning("the realm of the login cannot be used: %s", error)
    sentence = (
        "The login server cannot be reached, so nobody can be let in. Try again in a few seconds; if it stays, ask "
        "whoever runs this server to look at MONAI_LABEL_AUTH_REALM_URI and the login server there."
    )
    return HTTPException(503, sentence, {"Retry-After": str(RETRY_SECONDS)})
