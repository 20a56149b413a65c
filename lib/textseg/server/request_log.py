"""The log: each line says which request it is about, and none says what a person wrote (prompts are health data)."""

import hashlib
import logging
from traceback import format_tb

from textseg.server.caller import current_caller

HANDLED = ("", "uvicorn", "uvicorn.error", "uvicorn.access")


class RequestIdFilter(logging.Filter):
    """Puts the request id in front of the message, once per record however many handlers it meets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        if not hasattr(record, "textseg_request"):
            record.textseg_request = current_caller().request_id
            record.msg = f"[{record.textseg_request}] {record.msg}"
        return True


def install_request_log() -> None:
    """Both of the following. Call it when uvicorn has set up its handlers; it may be called again."""
    install_request_ids()
    keep_prompts_out()


def install_request_ids() -> None:
    """`[a1b2c3d4e5f6] ...` in the lines of the root's and uvicorn's handlers, `[-] ...` outside of a request."""
    for name in HANDLED:
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(known, RequestIdFilter) for known in handler.filters):
                handler.addFilter(RequestIdFilter())


def keep_prompts_out() -> None:
    """MONAI Label logs whole requests at INFO, prompts too: it may do so only where somebody asked for DEBUG."""
    asked = logging.getLogger().level <= logging.DEBUG
    logging.getLogger("monailabel").setLevel(logging.NOTSET if asked else logging.WARNING)


def told(text: str) -> str:
    """What the log may say of a text: enough to find it again, not to read it."""
    digest = hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()
    return f"{len(text)} character{'' if len(text) == 1 else 's'}, sha256 {digest[:8]}"


def told_error(error: BaseException, words: bool = False) -> str:
    """The traceback of `error` and of its causes; their messages only with `words`, for they may quote the request."""
    parts: list[str] = []
    met: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in met:
        met.add(id(current))
        parts.append("".join(format_tb(current.__traceback__)) + _kind(current, words))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nwhich led to:\n".join(reversed(parts))


def _kind(error: BaseException, words: bool) -> str:
    # The system's own words (no space left on device) quote nothing; the file name beside them may.
    system = error.strerror if isinstance(error, OSError) else None
    said = str(error) if words else system
    return f"{type(error).__module__}.{type(error).__qualname__}" + (f": {said}" if said else "")
