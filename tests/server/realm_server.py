"""A little login server for tests: one realm with an RSA key, a well-known page, one user; and tokens good and bad."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

USER, PASSWORD = "ann", "right one"


def new_key() -> rsa.RSAPrivateKey:
    """A fresh pair."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_text(key: Any) -> str:
    """The public half as a realm tells it: base64 without the lines around it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()


@dataclass
class RealmServer:
    """What it answers can be changed while it runs. fetched counts how often its key was asked for."""

    key: Any
    url: str = ""
    public: str | None = None
    issuer: str | None = None
    status: int = 200
    error: str = "invalid_grant"
    fetched: int = 0
    may_answer: threading.Event = field(default_factory=threading.Event)

    def token(self, algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """A token of this realm; claims that are None are left out."""
        told = {
            "exp": int(time.time()) + 600,
            "iss": self.url,
            "aud": "another-client",
            "sub": "1",
            "preferred_username": USER,
            "realm_access": {"roles": ["monailabel-user"]},
            **claims,
        }
        told = {name: value for name, value in told.items() if value is not None}
        # Not jwt.encode, which refuses to write what a test must be able to send.
        return jwt.api_jws.encode(json.dumps(told).encode(), key or self.key, algorithm=algorithm)

    def forged(self, algorithm: str) -> str:
        """A token signed with what everybody knows: nothing, or the public key as if it were a secret."""
        parts = [{"alg": algorithm, "typ": "JWT"}, jwt.decode(self.token(), options={"verify_signature": False})]
        signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
        pem = f"-----BEGIN PUBLIC KEY-----\n{public_text(self.key)}\n-----END PUBLIC KEY-----"
        signature = b"" if algorithm == "none" else hmac.new(pem.encode(), signed, hashlib.sha256).digest()
        return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()

    def answer(self, path: str, form: dict[str, list[str]]) -> tuple[int, Any]:
        """Status and JSON of one request."""
        if self.status != 200:
            return self.status, {"error": self.error}
        if path.endswith("/openid-configuration"):
            return 200, {"issuer": self.issuer or self.url, "token_endpoint": f"{self.url}/token"}
        if path.endswith("/token"):
            if (form.get("username"), form.get("password")) == ([USER], [PASSWORD]):
                return 200, {"access_token": self.token(), "token_type": "Bearer", "refresh_token": "x"}
            return 401, {"error": self.error, "error_description": "Invalid user credentials"}
        self.fetched += 1
        return 200, {"realm": "r", "public_key": self.public or public_text(self.key)}


@contextmanager
def realm_serving(key: Any) -> Iterator[RealmServer]:
    """A realm that answers."""
    realm = RealmServer(key)
    realm.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            realm.may_answer.wait(10)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, told = realm.answer(self.path, parse_qs(body.decode()))
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    realm.url = f"http://127.0.0.1:{server.server_port}/realms/r"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield realm
    finally:
        realm.may_answer.set()
        server.shutdown()
        server.server_close()
