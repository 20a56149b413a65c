"""Pretrained encoders as they lie on this machine: which there are, where they are, and whether they are whole.

They come by `textseg fetch` (engine.fetch, the only place that asks a hub) or are copied by hand. Imports no torch.
"""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from textseg.data.store.durable import from_json, to_json, write_whole
from textseg.errors import OptionError, StoreError, WeightsMissing

RECORD = "fetched.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # a hub has either or both; the first is preferred
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretrained:
    """Weights of others. files: all are needed; of several names for one file the first that there is, is taken.

    size: bytes of the whole, as far as it is known without asking a hub.
    """

    name: str
    title: str
    repository: str
    licence: str
    files: tuple[tuple[str, ...], ...]
    size: int

    @property
    def address(self) -> str:
        """The page where a person finds files and terms."""
        return f"https://huggingface.co/{self.repository}"


@dataclass(frozen=True)
class Pin:
    """One file as the hub told it at the first fetch.

    tag: its sha-256, or, for a small file, its git blob id. size in bytes, None: not told. sha256: what was found here
    when it agreed with the tag. seen: size and time of change (ns) of the file then, so that it is not read again.
    """

    tag: str
    size: int | None
    sha256: str | None = None
    seen: tuple[int, int] | None = None


@dataclass(frozen=True)
class Record:
    """What `fetched.json` holds: whence the files are, and one pin for each."""

    repository: str
    revision: str
    commit: str
    endpoint: str
    licence: str
    files: dict[str, Pin]


PRETRAINED: Mapping[str, Pretrained] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Pretrained(
                name="cxr-bert",
                title="CXR-BERT (specialized), text encoder of chest X-ray reports",
                repository="microsoft/BiomedVLP-CXR-BERT-specialized",
                licence="MIT",
                files=(("config.json",), ("vocab.txt",), WEIGHTS),
                size=439_000_000,
            ),
            Pretrained(
                name="convnext-tiny",
                title="ConvNeXt-Tiny, image encoder, ImageNet-1k at 224",
                repository="facebook/convnext-tiny-224",
                licence="Apache-2.0",
                files=(("config.json",), WEIGHTS),
                size=114_000_000,
            ),
            Pretrained(
                name="clip",
                title="CLIP ViT-B/32, of which the text half is read",
                repository="openai/clip-vit-base-patch32",
                licence="MIT",
                files=(WEIGHTS,),
                size=605_000_000,
            ),
        )
    }
)


def pretrained_entry(name: str) -> Pretrained:
    """The entry of that name. Raises OptionError with the names that there are."""
    if name not in PRETRAINED:
        raise OptionError(f"There are no pretrained weights {name[:80]!r}. Known: {', '.join(PRETRAINED)}.")
    return PRETRAINED[name]


def pretrained_folder(given: Path | None = None) -> Path:
    """The folder with a sub-folder for each: `given`, else TEXTSEG_PRETRAINED, else in the user's data folder."""
    if given or os.environ.get("TEXTSEG_PRETRAINED"):
        return Path(given or os.environ["TEXTSEG_PRETRAINED"]).expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME", ""))  # one that is not absolute is to be ignored, says XDG
    return (data if data.is_absolute() else Path.home() / ".local/share") / "textseg/pretrained"


def find_pretrained(name: str, folder: Path | None = None) -> Path:
    """The sub-folder that holds all files of `name`; folder: see `pretrained_folder`.

    A record of a fetch that lies with them is held against them; without one, the files were copied by hand and are
    taken as they are. Raises WeightsMissing that says what is missing or altered and what to do, OptionError.
    """
    entry, place = pretrained_entry(name), pretrained_folder(folder) / name
    record = read_record(entry, place)
    missing = missing_files(entry, place, record)
    if missing:
        raise WeightsMissing(
            f"{name} is not here: {place} lacks {' and '.join(missing)}. Fetch it (textseg fetch {name}), copy these "
            f"files there by hand from {entry.address}, or name the folder that holds {name}/ (--pretrained DIR)."
        )
    if record:
        check_files(entry, place, record)
    return place


def state_of(entry: Pretrained, folder: Path | None = None) -> str:
    """One of "here", "here, copied by hand", "fetched in part", "not here"; or the sentence that says what is wrong."""
    place = pretrained_folder(folder) / entry.name
    try:
        record = read_record(entry, place)
        if missing_files(entry, place, record):
            return "fetched in part" if record else "not here"
        find_pretrained(entry.name, folder)
    except WeightsMissing as error:
        return str(error)
    return "here" if record else "here, copied by hand"


def missing_files(entry: Pretrained, place: Path, record: Record | None) -> list[str]:
    """The files that are not there; "a or b" for one that may have either name."""
    needed = [(file,) for file in record.files] if record else entry.files
    return [" or ".join(names) for names in needed if not any((place / name).is_file() for name in names)]


def check_files(entry: Pretrained, place: Path, record: Record, thorough: bool = False) -> None:
    """Hold all files against the record, and remember there that they agreed.

    A file with the size and the time of change of the last look is not read again, unless `thorough`. Raises
    WeightsMissing for an altered file, and for one that would be read in place of the fetched one.
    """
    for names in entry.files:
        strangers = [name for name in names if name not in record.files and (place / name).is_file()]
        if strangers:
            raise WeightsMissing(
                f"{place / strangers[0]} was not fetched with the other files, but would be read. Take it away, or "
                f"delete {place / RECORD} if all of these files are yours."
            )
    files = {name: checked(place / name, pin, thorough) for name, pin in record.files.items()}
    if files != record.files:
        try:
            write_record(place, replace(record, files=files))
        except OSError as error:  # a folder that may only be read is as good, it is read at each start
            logger.info("%s cannot be brought up to date: %s", place / RECORD, error)


def checked(path: Path, pin: Pin, thorough: bool = True) -> Pin:
    """The pin of a file that agrees with it, with what was seen of the file. Raises WeightsMissing."""
    stat = path.stat()
    seen = (stat.st_size, stat.st_mtime_ns)
    if not thorough and pin.sha256 and pin.seen == seen:
        return pin
    sha256 = agreeing_sha256(path, pin)
    if sha256 is None:
        raise WeightsMissing(
            f"{path} is not the file that {RECORD} tells of: size or hash differ. Nothing was changed. Move it away "
            f"and run textseg fetch {path.parent.name} again, or delete {path.with_name(RECORD)} if all are yours."
        )
    return replace(pin, size=stat.st_size, sha256=sha256, seen=seen)


def agreeing_sha256(path: Path, pin: Pin) -> str | None:
    """The sha-256 of a file that has the size and the hashes of the pin; None for any other file."""
    size = path.stat().st_size
    if pin.size not in (None, size):
        return None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        git = pin.tag != sha256 and hashlib.file_digest(file, lambda: hashlib.sha1(b"blob %d\0" % size)).hexdigest()
    return sha256 if pin.tag in (sha256, git) and pin.sha256 in (None, sha256) else None


def read_record(entry: Pretrained, place: Path) -> Record | None:
    """The record of a fetch into that folder; None where there is none. Raises WeightsMissing when it is damaged."""
    path = place / RECORD
    try:
        told = from_json(path.read_bytes(), str(path))
        pins = {name: Pin(**{**pin, "seen": pin["seen"] and tuple(pin["seen"])}) for name, pin in told["files"].items()}
        if len(pins) != len(entry.files) or not all(pins.keys() & set(names) for names in entry.files):
            raise ValueError("it names other files than are needed")
        return Record(**{key: told[key] for key in Record.__dataclass_fields__ if key != "files"}, files=pins)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except StoreError as error:
        raise WeightsMissing(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsMissing(
            f"{path} cannot be used ({error or type(error).__name__}). Delete it and run textseg fetch {entry.name} "
            "again: files that are whole are kept."
        ) from error


def write_record(place: Path, record: Record) -> None:
    """Put the record of a fetch into that folder, whole or not at all. Raises OSError."""
    write_whole(place / RECORD, to_json(asdict(record)), place)
