"""`textseg fetch`: pretrained weights from a Hugging Face hub into a local folder. Nothing else ever asks a hub.

What the hub tells of the files at the first fetch (commit, sizes, hashes) is written to `fetched.json` before the first
byte of them comes; from then on that commit is asked for and those hashes are checked. No token is sent, no telemetry,
nothing that comes is executed. Tested against a local imitation of a hub only (tests/engine/test_fetch.py).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get  # after a break, 2.4.0's `hf_hub_download` begins anew
from huggingface_hub.utils import build_hf_headers

from textseg import __version__
from textseg.data.store.durable import locked, sync_folder
from textseg.engine.pretrained import (
    RECORD,
    Pin,
    Pretrained,
    Record,
    agreeing_sha256,
    check_files,
    checked,
    missing_files,
    pretrained_entry,
    pretrained_folder,
    read_record,
    write_record,
)
from textseg.errors import OptionError, WeightsMissing


@dataclass(frozen=True)
class Fetched:
    """What a fetch did. commit: None when somebody copied the files. downloaded: files that came this time."""

    name: str
    folder: Path
    commit: str | None
    downloaded: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.downloaded:
            return f"{self.name}: fetched {', '.join(self.downloaded)} into {self.folder} (commit {self.commit})"
        if self.commit is None:
            return f"{self.name}: copied into {self.folder} by hand and so not checked; nothing was fetched"
        return f"{self.name}: here already and unaltered, {self.folder} (commit {self.commit}); nothing was fetched"


@dataclass(frozen=True)
class _Hub:
    """A hub as far as it is needed here. Raises what huggingface_hub and its HTTP client raise."""

    endpoint: str

    def told(self, repository: str, file: str, revision: str) -> HfFileMetadata:
        """What it says of a file: commit, hash ("etag"), size."""
        return get_hf_file_metadata(
            self._address(repository, file, revision), token=False, headers=self._headers, endpoint=self.endpoint
        )

    def get(self, repository: str, file: str, revision: str, part: Path) -> None:
        """Download what is missing of a file at the end of `part`."""
        with part.open("ab") as stream:
            http_get(
                self._address(repository, file, revision),
                stream,
                resume_size=stream.tell(),
                headers=self._headers,
                displayed_filename=file,
            )
            stream.flush()
            os.fsync(stream.fileno())

    def _address(self, repository: str, file: str, revision: str) -> str:
        return hf_hub_url(repository, file, revision=revision, endpoint=self.endpoint)

    @property
    def _headers(self) -> dict[str, str]:
        """identity: a compressed reply cannot be gone on with in the middle."""
        return build_hf_headers(token=False, library_name="textseg", library_version=__version__) | {
            "Accept-Encoding": "identity"
        }


def fetch(name: str, folder: Path | None = None, endpoint: str | None = None, revision: str = "main") -> Fetched:
    """Bring the pretrained weights `name` to `folder`/`name`, or go on where an earlier fetch was broken off.

    folder: see `pretrained_folder`. endpoint: address of the hub, else HF_ENDPOINT, else huggingface.co. revision: what
    the first fetch asks for; later ones ask for the commit that it got. Raises WeightsMissing (no hub, a wrong hash, an
    altered file, ...) and OptionError; each says what to do. Files that are not whole never carry their name.
    """
    entry, place = pretrained_entry(name), pretrained_folder(folder) / name
    hub = _Hub(_endpoint(endpoint))
    with _explained(entry, place, hub), _without_telemetry():
        done = _here_already(entry, place)
        if done:
            return done
        with locked(place / ".lock"):  # another process may have brought them meanwhile
            return _here_already(entry, place) or _fetch_rest(entry, place, hub, revision)


def _here_already(entry: Pretrained, place: Path) -> Fetched | None:
    """When no file is missing: that there is nothing to fetch, with every file read and held against the record."""
    record = read_record(entry, place)
    if missing_files(entry, place, record):
        return None
    if record:
        check_files(entry, place, record, thorough=True)
    return Fetched(entry.name, place, record.commit if record else None)


def _fetch_rest(entry: Pretrained, place: Path, hub: _Hub, revision: str) -> Fetched:
    record = read_record(entry, place) or _pinned(entry, place, hub, revision)
    downloaded = []
    for file in record.files:
        if not (place / file).is_file():
            _download(entry, place, hub, record, file)
            downloaded.append(file)
        pin = checked(place / file, record.files[file])
        record = replace(record, files={**record.files, file: pin})
        write_record(place, record)
    return Fetched(entry.name, place, record.commit, tuple(downloaded))


def _pinned(entry: Pretrained, place: Path, hub: _Hub, revision: str) -> Record:
    """Ask the hub what the files are, and write that down."""
    commit, pins = None, {}
    for names in entry.files:
        # What somebody has put there is kept and checked, rather than fetched under its other name.
        in_turn = sorted(names, key=lambda name: not (place / name).is_file())
        file, told = _first_of(entry, hub, in_turn, commit or revision)
        if not told.commit_hash or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", told.etag or ""):
            raise WeightsMissing(
                f"{hub.endpoint} tells no commit or no hash of {file}, so it cannot be checked and was not fetched. "
                f"Is it a Hugging Face hub? {_by_hand(entry, place)}"
            )
        commit = commit or told.commit_hash
        pins[file] = Pin(tag=told.etag, size=told.size)
        _part(place, file).unlink(missing_ok=True)  # of an earlier record: perhaps of another commit
    record = Record(entry.repository, revision, commit, hub.endpoint, entry.licence, pins)
    write_record(place, record)
    return record


def _first_of(entry: Pretrained, hub: _Hub, names: list[str], revision: str) -> tuple[str, HfFileMetadata]:
    """The first of these files that the hub has, and what it tells of it."""
    for name in names:
        try:
            return name, hub.told(entry.repository, name, revision)
        except HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
    raise WeightsMissing(
        f"{hub.endpoint} has no {' or '.join(names)} of {entry.repository} at {revision}. Give another hub "
        "(--endpoint), or copy the files by hand."
    )


def _download(entry: Pretrained, place: Path, hub: _Hub, record: Record, file: str) -> None:
    """Fetch one file of the record. It gets its name when its hash is right; otherwise it is thrown away."""
    pin, part = record.files[file], _part(place, file)
    told = hub.told(entry.repository, file, record.commit)
    if told.etag != pin.tag or (told.size != pin.size and None not in (told.size, pin.size)):
        raise WeightsMissing(
            f"{hub.endpoint} now tells another hash or size of {file} at commit {record.commit} than at the first "
            f"fetch; it was not fetched. If you trust it, delete {place / RECORD} and fetch again."
        )
    if part.is_file() and (pin.size is None or part.stat().st_size > pin.size):
        part.unlink()  # there is nothing to go on with
    if not part.is_file() or part.stat().st_size != pin.size:
        hub.get(entry.repository, file, record.commit, part)
    if agreeing_sha256(part, pin) is None:
        part.unlink()
        raise WeightsMissing(
            f"What came for {file} from {hub.endpoint} has not the hash that was told, and was thrown away. Run "
            f"textseg fetch {entry.name} again, over another network if it comes wrong once more."
        )
    part.replace(place / file)
    sync_folder(place)


def _part(place: Path, file: str) -> Path:
    return place / f"{file}.part"


def _endpoint(given: str | None) -> str:
    endpoint = (given or constants.ENDPOINT).rstrip("/")
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise OptionError(f"{endpoint!r} is no address of a hub. Give one such as {constants.ENDPOINT}.")
    return endpoint


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """huggingface_hub would name torch's version and ask the hub about the calling program, unless switched off."""
    before, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


@contextmanager
def _explained(entry: Pretrained, place: Path, hub: _Hub) -> Iterator[None]:
    """Errors of the network, the hub and the disk become a WeightsMissing that says what to do."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise WeightsMissing(f"HF_HUB_OFFLINE forbids to ask a hub. Unset it. {_by_hand(entry, place)}") from error
    except HfHubHTTPError as error:
        fault = f"{hub.endpoint} answered {error.response.status_code} for {entry.repository}."
        raise WeightsMissing(f"{fault} {_by_hand(entry, place)}") from error
    except HTTPError as error:
        fault = f"{hub.endpoint} cannot be reached, or broke off ({error or type(error).__name__})."
        raise WeightsMissing(f"{fault} {_by_hand(entry, place)}") from error
    except OSError as error:
        fault = f"{place} cannot be filled ({error.strerror or error}). Make room, or give another folder with --to."
        raise WeightsMissing(f"{fault} {_by_hand(entry, place)}") from error


def _by_hand(entry: Pretrained, place: Path) -> str:
    """What remains to be done when no hub helps."""
    files = ", ".join(" or ".join(names) for names in entry.files)
    return (
        f"Run textseg fetch {entry.name} again: what came so far is kept and it goes on there. Or copy {files} from "
        f"{entry.address}/tree/main into {place} by hand."
    )
