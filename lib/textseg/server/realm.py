"""The realm behind the login: its public key, fetched when needed and kept, and what its tokens say."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import requests
from monailabel.config import settings

ALGORITHMS = ["RS256", "RS384", "RS512"]
CLOCK_SKEW_SECONDS = 30
REFETCH_SECONDS = 60.0


class RealmUnreachable(Exception):
    """The realm does not answer, or not as a realm does. The message is for the log."""


@dataclass(frozen=True)
class RealmKey:
    """The key that verifies the realm's tokens, and the names the realm goes by in them."""

    key: Any
    issuers: frozenset[str]


class Realm:
    """The realm of one app. Threads that want the key at the same time share one fetch and its failure."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: RealmKey | None = None
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure = ""

    def claims(self, token: str) -> dict[str, Any]:
        """What a valid token of this realm says. Raises jwt.InvalidTokenError and RealmUnreachable."""
        known = self._key()
        try:
            return _decode(token, known)
        except jwt.InvalidSignatureError:
            # The realm may have a new key.
            newer = self._newer_key(known)
            if newer is known:
                raise
        return _decode(token, newer)

    def _key(self) -> RealmKey:
        asked_at = self._clock()
        with self._lock:
            if self._known is not None:
                return self._known
            if self._failed_at > asked_at:
                raise RealmUnreachable(self._failure)
            return self._fetch()

    def _newer_key(self, old: RealmKey) -> RealmKey:
        """The key after `old`, fetched at most once a minute: else every bad token would be a request to the realm."""
        with self._lock:
            if self._known is not old or self._clock() - self._fetched_at < REFETCH_SECONDS:
                return self._known or old
            try:
                return self._fetch()
            except RealmUnreachable:
                return old

    def _fetch(self) -> RealmKey:
        try:
            self._known = _fetch_key(settings.MONAI_LABEL_AUTH_REALM_URI)
        except RealmUnreachable as error:
            self._failed_at, self._failure = self._clock(), str(error)
            raise
        finally:
            self._fetched_at = self._clock()
        return self._known


def ask_realm(method: str, address: str, data: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """(status, JSON object that came back, {} when none did). Raises RealmUnreachable when nobody answers for it."""
    try:
        answer = requests.request(method, address, data=data, timeout=settings.MONAI_LABEL_AUTH_TIMEOUT)
        told = answer.json() if answer.content else {}
    except requests.JSONDecodeError:
        told = {}
    except requests.RequestException as error:
        raise RealmUnreachable(type(error).__name__) from error
    if answer.status_code >= 500 or answer.status_code == 429:
        raise RealmUnreachable(f"it answers with status {answer.status_code}")
    return answer.status_code, told if isinstance(told, dict) else {}


def discover(realm_address: str) -> dict[str, Any]:
    """What the realm says of itself: its issuer, where tokens are fetched; {} when it has no such page."""
    status, told = ask_realm("GET", f"{realm_address.rstrip('/')}/.well-known/openid-configuration")
    return told if status == 200 else {}


def _fetch_key(address: str) -> RealmKey:
    status, told = ask_realm("GET", address)
    text = told.get("public_key")
    if status != 200 or not isinstance(text, str):
        raise RealmUnreachable(f"it answers with status {status} and no public key")
    try:
        pem = f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----"
        key = jwt.get_algorithm_by_name(ALGORITHMS[0]).prepare_key(pem)
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as error:
        raise RealmUnreachable("its public key is no RSA key") from error
    issuers = {address, discover(address).get("issuer")}
    return RealmKey(key, frozenset(name.rstrip("/") for name in issuers if isinstance(name, str)))


def _decode(token: str, known: RealmKey) -> dict[str, Any]:
    options = {"require": ["exp"], "verify_aud": False}
    claims = jwt.decode(token, known.key, algorithms=ALGORITHMS, options=options, leeway=CLOCK_SKEW_SECONDS)
    issuer = claims.get("iss", "")
    if "iss" in claims and not (isinstance(issuer, str) and issuer.rstrip("/") in known.issuers):
        raise jwt.InvalidIssuerError
    return claims
