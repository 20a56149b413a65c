"""Errors meant for people -> HTTP errors, whose sentence the viewer shows in its dialog."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from textseg.errors import TextSegError

logger = logging.getLogger(__name__)


@contextmanager
def told_to_the_client(request_id: str = "-") -> Iterator[None]:
    """A TextSegError inside the `with` becomes an HTTPException of its status; the log gets its kind, not its words."""
    try:
        yield
    except TextSegError as error:
        logger.info("request %s refused: %s", request_id, type(error).__name__)
        raise HTTPException(status_code=error.status, detail=str(error)) from error
