"""Errors meant for people -> HTTP errors, whose sentence the viewer shows in its dialog."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import JSONResponse, Response

from textseg.errors import TextSegError
from textseg.server.caller import current_caller

PLACES = {"query": "the query", "path": "the path", "header": "the headers", "cookie": "the cookies"}
# How the sentences of the platform begin -> what to do, or the whole sentence where it says too little.
REMEDIES = {
    "Part exceeded maximum size": "Send what is large as a file, with a file name; a form field is for options.",
    "Field exceeded maximum size": "Send what is large as a file, in a multipart form; a field is for options.",
    "Too many files": "Send them in several requests.",
    "Too many fields": "Send options as one JSON text in the field `params`.",
    "Missing boundary": "Leave the header Content-Type to the library that writes the form.",
    "The Content-Disposition header": "Give every part of the form a name.",
    "Invalid multipart data": "Let a library write the form, and send it again.",
}
SENTENCES = {
    "Not Found": "Nothing is served at this address. The server's page at / lists what is.",
    "Method Not Allowed": "This address does not take this method. The server's page at / lists what it takes.",
    "There was an error parsing the body": (
        "The body of this request cannot be read: it is not what its Content-Type says, is cut off, or is nested too "
        "deeply. Correct it and send it again."
    ),
}
RETRY_SECONDS = "5"
logger = logging.getLogger(__name__)


@contextmanager
def told_to_the_client() -> Iterator[None]:
    """A TextSegError inside the `with` becomes an HTTPException of its status; the log gets its kind, not its words."""
    try:
        yield
    except TextSegError as error:
        logger.info("refused: %s", type(error).__name__)
        raise HTTPException(error.status, str(error), _headers(error)) from error


def install_error_handlers(app: FastAPI) -> None:
    """Every error leaves the app as {"detail": sentence, "request_id": id}. May be called again."""
    app.add_exception_handler(AnyHTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(TextSegError, _answer_for_people)


def in_words(detail: object, status: int) -> str:
    """One sentence for any detail that the platform gives."""
    text = detail if isinstance(detail, str) else json.dumps(detail, default=str)
    if text in SENTENCES:
        return SENTENCES[text]
    remedy = next((remedy for start, remedy in REMEDIES.items() if text.startswith(start)), "")
    return f"{text} {remedy}".strip() or _phrase(status)


def invalid_in_words(faults: list[Mapping[str, Any]]) -> str:
    """Which fields are wrong and what they take, without what was sent."""
    return " ".join(dict.fromkeys(_fault(fault) for fault in faults)) or "This request is not valid."


async def _answer_http_error(request: Request, error: AnyHTTPException) -> Response:
    if error.status_code in (204, 205, 304) or error.status_code < 200:
        return Response(status_code=error.status_code, headers=error.headers)
    return _answer(error.status_code, in_words(error.detail, error.status_code), error.headers)


async def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    return _answer(422, invalid_in_words(error.errors()))


async def _answer_for_people(request: Request, error: TextSegError) -> Response:
    logger.info("refused: %s", type(error).__name__)
    return _answer(error.status, str(error), _headers(error))


def _headers(error: TextSegError) -> dict[str, str]:
    return {"Retry-After": RETRY_SECONDS} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def _answer(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"detail": sentence, "request_id": current_caller().request_id}
    return JSONResponse(body, status, dict(headers or {}))


def _fault(fault: Mapping[str, Any]) -> str:
    place, *rest = fault.get("loc") or ("body",)
    kind, message = fault.get("type", ""), str(fault.get("msg", ""))
    if kind == "json_invalid":
        return f"The body is not valid JSON: {fault.get('ctx', {}).get('error')} at character {rest[0] if rest else 0}."
    name = f"`{'.'.join(str(part) for part in rest)[:100]}` in {PLACES.get(place, 'the body')}" if rest else "The body"
    if kind == "missing":
        return f"{name} is missing: send it."
    # Only pydantic's own words: those of validators may quote what was sent.
    takes = message.removeprefix("Input ") if message.startswith("Input should") else "cannot be used as it is"
    return f"{name} {takes}."


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase}."
    except ValueError:
        return f"The server answers with status {status}."
