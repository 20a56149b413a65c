"""Who asks, known everywhere below the guard: in the routes, in the threadpool, in the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """One request: its id, which the answer and every line of the log carry, and where it came from ("" unknown)."""

    request_id: str
    address: str


NOBODY = Caller("-", "")
_CALLER: ContextVar[Caller] = ContextVar("textseg_caller", default=NOBODY)


def current_caller() -> Caller:
    """The request that is being answered; NOBODY outside of one."""
    return _CALLER.get()


@contextmanager
def called_by(caller: Caller) -> Iterator[None]:
    """Inside the `with`, and in threads of the threadpool that it starts, `caller` is the current one."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)
