"""One request and its answer, as the guard sees them stream by: pieces are counted, nothing is held in memory."""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from textseg.server.caller import current_caller
from textseg.server.guard_rules import GuardRules, Refusal, body_limit, too_large

REQUEST_ID_HEADER = "X-Request-ID"
IDLE_SECONDS = 1.0
DRAIN_SECONDS = 10.0


class Exchange:
    """One request and its answer: counts what comes in, and sees to it that one answer goes out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, rules: GuardRules) -> None:
        self.scope = scope
        self.limit = body_limit(scope, rules)
        self.exceeded = False
        self._rules = rules
        self._receive = receive
        self._send = send
        self._counted = 0
        self._complete = False
        self._started = False

    async def receive(self) -> Message:
        """The next piece of the body. Beyond the limit the app gets no more, whatever length was declared."""
        message = await self._receive()
        self._complete = not (message["type"] == "http.request" and message.get("more_body", False))
        self._counted += len(message.get("body", b""))
        if self._counted > self.limit:
            self.exceeded = True
            raise HTTPException(413, too_large(self.limit).sentence)
        return message

    async def send(self, message: Message) -> None:
        """The app's answer on its way out, unless the body was too large: then only the refusal goes out."""
        if self.exceeded and not self._started:
            return
        if message["type"] == "http.response.start":
            self._started = True
            message = {**message, "headers": list(message.get("headers", []))}
            MutableHeaders(raw=message["headers"])[REQUEST_ID_HEADER] = current_caller().request_id
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer in words and close the connection; when an answer is on its way already, it stays cut off."""
        if self._started:
            return
        await self._drain()
        self.exceeded = False
        request_id = current_caller().request_id
        answer = JSONResponse(
            {"detail": refusal.sentence, "request_id": request_id}, refusal.status, self._refusal_headers()
        )
        await answer(self.scope, self._receive, self.send)

    def _refusal_headers(self) -> dict[str, str]:
        """A page that is trusted may read why it was refused: this answer does not pass the CORS middleware."""
        origin = Headers(scope=self.scope).get("origin")
        trusted = {"access-control-allow-origin": origin, "vary": "Origin"} if origin in self._rules.origins else {}
        return {"connection": "close", **trusted}

    async def _drain(self) -> None:
        """Read on for a while and throw away: closing on unread bytes resets the connection and loses the answer."""
        if "expect" in Headers(scope=self.scope):
            return
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        try:
            while not self._complete and asyncio.get_running_loop().time() < deadline:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._receive()
                self._complete = not (message["type"] == "http.request" and message.get("more_body", False))
        except TimeoutError:
            return
