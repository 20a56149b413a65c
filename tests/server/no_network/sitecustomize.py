"""Put on PYTHONPATH of a server under test: every connection that leaves this machine fails, and is written down."""

import os
import socket
from pathlib import Path

_connect = socket.socket.connect
_lookup = socket.getaddrinfo


def _refuse(address: object) -> None:
    with Path(os.environ["NO_NETWORK_LOG"]).open("a", encoding="utf-8") as log:
        log.write(f"{address}\n")
    raise OSError(f"the test blocks the network: {address}")


def _only_loopback(self: socket.socket, address: object) -> None:
    local = self.family == socket.AF_UNIX or str(address[0]).startswith("127.") or address[0] in ("::1", "localhost")
    if not local:
        _refuse(address)
    return _connect(self, address)


def _lookup_loopback(host: object, *args: object, **kwargs: object) -> object:
    if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", b"localhost", b"127.0.0.1"):
        _refuse(host)
    return _lookup(host, *args, **kwargs)


socket.socket.connect = _only_loopback
socket.getaddrinfo = _lookup_loopback
