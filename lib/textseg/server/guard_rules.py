"""What the guard lets in: rules made once at start, and the checks of one request, each a refusal in words or None."""

import ipaddress
import re
import socket
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlsplit

from monailabel.config import settings
from starlette.datastructures import Headers
from starlette.types import Scope

PORTS = {"http": 80, "https": 443}
UPLOADS = (("PUT", "/datastore"), ("PUT", "/session"), ("POST", "/infer"), ("POST", "/proxy/dicom"))
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?")
SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


@dataclass(frozen=True)
class GuardRules:
    """login: MONAI Label's own is on. origins: web pages trusted besides the server's own. names: this machine's."""

    allow_remote: bool = False
    login: bool = False
    origins: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    prefix: str = ""
    max_json: int = 1 << 20
    max_upload: int = 1 << 30


@dataclass(frozen=True)
class Refusal:
    """status and the sentence: what is wrong, and what to do next."""

    status: int
    sentence: str


def rules_for(allow_remote: bool) -> GuardRules:
    """The rules that MONAI Label's settings ask for. Asks the system for the names of this machine: call it once."""
    name = socket.gethostname().lower()
    short = name.split(".")[0]
    origins = (plain_origin(str(origin)) for origin in settings.MONAI_LABEL_CORS_ORIGINS)
    return GuardRules(
        allow_remote=allow_remote,
        login=settings.MONAI_LABEL_AUTH_ENABLE,
        origins=tuple(dict.fromkeys(origins)),
        names=frozenset({name, short, f"{short}.local", socket.getfqdn().lower()}),
        prefix=settings.MONAI_LABEL_API_STR,
    )


def plain_origin(address: str) -> str:
    """An address as browsers write an origin: HTTP://Viewer.Local:80/ohif -> http://viewer.local"""
    parts = urlsplit(address.strip().lower())
    standard = f":{PORTS.get(parts.scheme)}"
    return f"{parts.scheme}://{parts.netloc.removesuffix(standard)}"


def find_refusal(scope: Scope, rules: GuardRules) -> Refusal | None:
    """The first rule that the HTTP request breaks; strangers are told nothing but that they are strangers."""
    headers = Headers(scope=scope)
    return (
        _stranger(scope, rules)
        or _odd_target(scope)
        or _strange_host(scope, headers, rules)
        or _foreign_page(headers, rules)
        or _foreign_fetch(scope, headers)
        or _no_token(scope, headers, rules)
        or _declared_too_large(scope, headers, rules)
    )


def body_limit(scope: Scope, rules: GuardRules) -> int:
    """How many bytes the body of this request may have."""
    path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix(rules.prefix)
    uploads = any(scope["method"] == method and path.startswith(start) for method, start in UPLOADS)
    return rules.max_upload if uploads else rules.max_json


def too_large(limit: int) -> Refusal:
    """A body beyond `limit` bytes."""
    size, unit = next((size, unit) for size, unit in SIZES if limit >= size or size == 1)
    sentence = f"The body of this request is too large: at most {limit / size:g} {unit} are taken here."
    return Refusal(
        413, f"{sentence} Send less: a picture or mask cropped or compressed, options without file contents."
    )


def _stranger(scope: Scope, rules: GuardRules) -> Refusal | None:
    if rules.allow_remote or rules.login or _is_local(scope):
        return None
    return Refusal(
        403,
        f"This server answers only on its own machine, and you ask from {_quoted(scope['client'][0])}. To open it, "
        "start it with `--conf allow_remote true`: then everybody who reaches this port can see, change and delete "
        "pictures and labels without a password. MONAI Label's login (MONAI_LABEL_AUTH_ENABLE) opens it to its users.",
    )


def _odd_target(scope: Scope) -> Refusal | None:
    query = unquote_plus(scope.get("query_string", b"").decode("latin-1"))
    if not any(unicodedata.category(letter) == "Cc" for letter in scope["path"] + query):
        return None
    return Refusal(
        400,
        "The address of this request holds control characters (a NUL, a line break), so it is no picture, label or "
        "model: give its name as in the list, not a path and not copied with a line break.",
    )


def _strange_host(scope: Scope, headers: Headers, rules: GuardRules) -> Refusal | None:
    """A name that somebody else's DNS points at this machine makes their page the server's own: refuse the name."""
    found = _host(headers)
    if found is None:
        return Refusal(400, "The header Host is missing or malformed: send the name or address of this server, once.")
    name = found[0]
    trusted = rules.names | {urlsplit(origin).hostname for origin in rules.origins} | {"localhost"}
    if rules.login or _in_process(scope) or name in trusted or _ip(name.strip("[]")):
        return None
    return Refusal(
        403,
        f"This server does not go by the name {_quoted(name)}. Use its IP address, or localhost on its own machine; "
        f"or, if you trust the name, start it with MONAI_LABEL_CORS_ORIGINS='[\"http://{name}\"]'.",
    )


def _foreign_page(headers: Headers, rules: GuardRules) -> Refusal | None:
    foreign = [origin for origin in headers.getlist("origin") if not _is_trusted(origin, headers, rules)]
    if not foreign:
        return None
    return Refusal(
        403,
        f"A web page of another origin, {_quoted(foreign[0])}, sent this request, and this server answers only its own "
        "pages. Use 3D Slicer or the server's own page; or, if you trust that page, start the server with "
        "MONAI_LABEL_CORS_ORIGINS='[\"http://page.example:3000\"]', its origin in place of the example.",
    )


def _foreign_fetch(scope: Scope, headers: Headers) -> Refusal | None:
    """Browsers leave out Origin where a page embeds a picture or a frame, and say where from in Sec-Fetch-Site."""
    if headers.get("sec-fetch-site", "").lower() not in ("cross-site", "same-site") or "origin" in headers:
        return None
    opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    if opened and scope["method"] == "GET":
        return None
    return Refusal(
        403,
        "A page of another web site tried to load this, and this server answers only its own pages. Open the address "
        "in a tab of its own.",
    )


def _no_token(scope: Scope, headers: Headers, rules: GuardRules) -> Refusal | None:
    """With a login, nobody's upload is taken in before there is a token to look at."""
    if not rules.login or headers.get("authorization", "").lower().startswith("bearer "):
        return None
    if body_limit(scope, rules) < rules.max_upload:
        return None
    return Refusal(401, "This server asks for a login before it takes an upload. Log in, and send it again.")


def _declared_too_large(scope: Scope, headers: Headers, rules: GuardRules) -> Refusal | None:
    lengths = headers.getlist("content-length")
    if not lengths:
        return None
    length = lengths[0]
    if len(lengths) > 1 or not (length.isascii() and length.isdigit()):
        return Refusal(400, "The header Content-Length is malformed: send the number of bytes of the body, once.")
    limit = body_limit(scope, rules)
    # Python refuses to read numbers of thousands of digits.
    return too_large(limit) if len(length) > 18 or int(length) > limit else None


def _is_local(scope: Scope) -> bool:
    """Loopback, a socket file, or this process."""
    client = scope.get("client")
    if not client or _in_process(scope):
        return True
    address = _ip(client[0])
    return address is not None and address.is_loopback


def _in_process(scope: Scope) -> bool:
    """A test client: names at both ends. The client's alone would prove nothing, X-Forwarded-For can set it."""
    ends = [scope.get("client"), scope.get("server")]
    return all(end and _ip(end[0]) is None for end in ends)


def _is_trusted(origin: str, headers: Headers, rules: GuardRules) -> bool:
    try:
        plain = plain_origin(origin)
        parts = urlsplit(plain)
        name, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return False
    found = _host(headers)
    own = found and (found[0].strip("[]"), found[1] or PORTS.get(parts.scheme))
    return plain in rules.origins or (parts.scheme in PORTS and own == (name, port))


def _host(headers: Headers) -> tuple[str, int | None] | None:
    """(name or address, port) of the one header Host."""
    values = headers.getlist("host")
    match = HOST.fullmatch(values[0].strip().lower()) if len(values) == 1 else None
    if match is None:
        return None
    return match[1].rstrip("."), int(match[2]) if match[2] else None


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _quoted(value: str, limit: int = 200) -> str:
    """A header's words for an answer and the log: printable, on one line."""
    return ascii(value[:limit])
