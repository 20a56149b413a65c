"""The outermost layer of the server: every request gets an id and a caller, is let in or refused in words, and every
answer is one that a person can read. `secure` closes an app with it, `guard_holds` proves it.
"""

import asyncio
import logging
import threading
import uuid
from typing import Any

from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from textseg.server.caller import Caller, called_by, current_caller
from textseg.server.exchange import REQUEST_ID_HEADER, Exchange
from textseg.server.guard_rules import GuardRules, Refusal, find_refusal, too_large
from textseg.server.http_errors import install_error_handlers
from textseg.server.login import install_login
from textseg.server.request_log import told_error

ELSEWHERE = "203.0.113.9"  # an address that documentation may use and no machine has
PROOF, PROOF_SECONDS = "textseg.proof", 20.0
logger = logging.getLogger(__name__)


class Guard:
    """ASGI middleware: `rules` decide who may ask what; `app` answers the rest."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of any kind."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        client = scope.get("client")
        with called_by(Caller(uuid.uuid4().hex[:12], client[0] if client else "")):
            if scope["type"] == "websocket":
                # Nothing here speaks it, and browsers let any page open one.
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._answer(Exchange(scope, receive, send, self.rules))

    async def _answer(self, exchange: Exchange) -> None:
        refusal = find_refusal(exchange.scope, self.rules)
        if refusal:
            await self._refuse(exchange, refusal)
            return
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            logger.info("the client hung up")
        except Exception as error:
            if not exchange.exceeded:
                await self._failed(exchange, error)
        if exchange.exceeded:
            await self._refuse(exchange, too_large(exchange.limit))

    async def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        level = logging.DEBUG if exchange.scope.get("state", {}).get(PROOF) else logging.INFO
        logger.log(level, "refused with %d: %s", refusal.status, refusal.sentence)
        await exchange.refuse(refusal)

    async def _failed(self, exchange: Exchange, error: Exception) -> None:
        """The one place where an unexpected exception is logged; swallowed, or the server would log it again."""
        route = getattr(exchange.scope.get("route"), "path", "unknown")
        told = told_error(error, words=logger.isEnabledFor(logging.DEBUG))
        logger.error("%s of route %s failed:\n%s", exchange.scope["method"], route, told)
        request_id = current_caller().request_id
        sentence = (
            "The server failed at this request, and the fault is the server's, not yours. Try again; if it happens "
            f"again, ask whoever runs the server to look for [{request_id}] in its log."
        )
        await exchange.refuse(Refusal(500, sentence))


def secure(app: FastAPI, rules: GuardRules) -> None:
    """Install it all, also in an app that runs already; called again it replaces what it installed before."""
    kept = [each for each in app.user_middleware if each.cls not in (Guard, CORSMiddleware)]
    app.user_middleware = [Middleware(Guard, rules=rules), *_cors(rules), *kept]
    install_error_handlers(app)
    install_login(app)
    # Starlette builds the stack once, at the first message of the lifespan; without one it builds it anew.
    app.middleware_stack = None


def guard_holds(app: FastAPI, rules: GuardRules) -> bool:
    """True when a request that must be refused is: another web page's, and from another machine unless that may ask.

    Goes through the whole app in a thread of its own, so that it can be called inside the running loop.
    """
    messages: list[dict[str, Any]] = []

    def ask() -> None:
        try:
            asyncio.run(_ask(app, rules, messages))
        except Exception as error:
            logger.error("the guard could not be tried: %s", type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROOF_SECONDS)
    starts = [message for message in list(messages) if message["type"] == "http.response.start"]
    names = [name.lower() for start in starts for name, _ in start["headers"]]
    return [start["status"] for start in starts] == [403] and REQUEST_ID_HEADER.lower().encode() in names


def _cors(rules: GuardRules) -> list[Middleware]:
    """As MONAI Label sets it up, for the trusted origins alone."""
    if not rules.origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(rules.origins),
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID_HEADER],
        )
    ]


async def _ask(app: FastAPI, rules: GuardRules, messages: list[dict[str, Any]]) -> None:
    address = "127.0.0.1" if rules.allow_remote or rules.login else ELSEWHERE
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": f"{rules.prefix}/infer/x",
        "raw_path": f"{rules.prefix}/infer/x".encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"origin", b"http://another.page.invalid"), (b"content-length", b"0")],
        "client": (address, 9),
        "server": ("127.0.0.1", 80),
        "state": {PROOF: True},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
