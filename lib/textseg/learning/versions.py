"""Versions of one model: published, served, rolled back to. Whatever fails, the old or the new one serves, whole."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from textseg.data.seen import Seen
from textseg.data.store.durable import iso_time, told_of_failure
from textseg.engine.ready import SHIPPED_VERSION
from textseg.errors import VersionError, WeightsMissing
from textseg.learning.checks import Checks
from textseg.learning.shelf import (
    GATE,
    PUBLISHED,
    ROLLED_BACK,
    Pointer,
    Shelf,
    Stat,
    Verdict,
    name_of,
    number_of,
    read_object,
    stat_of,
)
from textseg.registry import ModelSpec

if TYPE_CHECKING:  # the command line lists versions without torch
    from torch import Tensor, nn

NOTHING: Mapping[str, str] = MappingProxyType({})
logger = logging.getLogger(__name__)


class Overtaken(Exception):
    """Another version serves by now than the one that a candidate was made from. version: which."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.version = version


@dataclass(frozen=True)
class Served:
    """What serves. weights: its file, None for the shipped ones. told: why what should serve does not, sentences."""

    version: str
    weights: Path | None
    manifest: dict[str, Any]
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """A version on the disk. time, report (the gate's): "" and {} where not known. fault: why it cannot serve.

    withdrawn: it was rolled back from.
    """

    version: str
    time: str
    report: dict[str, Any]
    fault: str | None
    withdrawn: bool


class Versions:
    """The versions of a model in `folder`, which is made when the first is published; v0000 is the base, never there.

    base: the weights file that the server was started with, None: the shipped one. pretrained: folder of pretrained
    text encoders. Several threads and processes may use one folder.
    """

    def __init__(self, folder: Path, spec: ModelSpec, base: Path | None = None, pretrained: Path | None = None) -> None:
        self.spec, self.base, self.pretrained = spec, base, pretrained
        self._shelf, self._checks = Shelf(folder), Checks(spec, pretrained)

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self._shelf.folder

    def stat(self) -> Stat | None:
        """What changes when another version is to serve. Cheap: for every request."""
        return stat_of(self._shelf.pointer_path)

    def served(self, refused: Mapping[str, str] = NOTHING) -> Served:
        """The version that was published or gone back to last, if it is whole and fits the model.

        Else the last such version before it that nobody rolled back from, in the end the base. refused: versions that
        could not be loaded, and why. Raises WeightsMissing where nothing can serve.
        """
        pointer = self._shelf.pointer()
        told = [pointer.fault] if pointer.fault else []
        for number in self._in_order(pointer):
            name = name_of(number)
            try:
                if name in refused:
                    raise WeightsMissing(refused[name])
                manifest = self._checks.manifest(self._weights(number))
            except WeightsMissing as error:
                told.append(f"{name} of {self.spec.name} cannot be served. {error}" if number else str(error))
            else:
                told += [f"{name} serves in its place."] if told else []
                return Served(name, self._weights(number), manifest, tuple(told))
        raise WeightsMissing(" ".join(told))

    def why(self) -> tuple[str, str]:
        """Why the version is to serve that is (published, rolled back), and since when; "" for the base at first."""
        pointer = self._shelf.pointer()
        return pointer.why, pointer.time

    def stored(self) -> list[Stored]:
        """All versions that are there, the oldest first."""
        withdrawn = self._shelf.pointer().withdrawn
        return [self._stored(number, number in withdrawn) for number in self._shelf.numbers()]

    def verdicts(self) -> list[Verdict]:
        """What the gate said of every candidate, the newest last."""
        return self._shelf.verdicts()

    def next_version(self) -> str:
        """What the next candidate will be called, unless another process has one before."""
        return name_of(self._shelf.next_number())

    def publish(
        self,
        network: "nn.Module | Mapping[str, Tensor]",
        manifest: dict[str, Any],
        report: dict[str, Any],
        seen: Seen | None = None,
        after: str | None = None,
    ) -> str:
        """Store a network (or its state) as the next version and let it serve; returns the version.

        manifest: as of `engine.weights.save_weights`; version, time and the base's hash are added. report: the gate's,
        JSON with a sentence under "verdict". seen: the pictures that it was trained on, to lie beside it. after: only
        while this version serves. Raises Overtaken where another one does by now, VersionError for weights that cannot
        be served, StoreError for a disk that is full or not to be written: then the served version serves on.
        """
        from textseg.learning.candidate import write_candidate  # torch: only here

        with self._writing(f"the new version of {self.spec.name}") as shelf:
            now = self.served().version
            if after not in (None, now):
                raise Overtaken(now)
            number = shelf.next_number()
            name, folder = name_of(number), shelf.unfinished / name_of(number)
            whole = {"base": self._base_hash(), **manifest, "version": name, "published": iso_time()}
            path = folder / f"{self.spec.name}.safetensors"
            write_candidate(path, self.spec, network, whole, report, self.pretrained, seen)
            shelf.keep_verdict(number, True, report)
            shelf.take_in(folder, number)
            shelf.point(number, PUBLISHED, shelf.pointer().withdrawn)
        logger.info("%s of %s is published", name, self.spec.name)
        return name

    def reject(self, report: dict[str, Any]) -> str:
        """Keep the gate's report on a candidate that is not published; returns the version that it would have been.

        No other candidate gets that number. Raises StoreError as `publish`.
        """
        with self._writing("the verdict on a candidate") as shelf:
            number = shelf.next_number()
            shelf.keep_verdict(number, False, report)
        return name_of(number)

    def rollback(self, to: str | None = None) -> str:
        """Let an earlier version serve, the last one before the served one or the named one; returns it.

        What came after it does not serve again by itself. Raises VersionError, which says which versions there are,
        where there is no such one or it cannot be served; StoreError as `publish`.
        """
        with self._writing("which version serves") as shelf:
            number = self._before_served() if to is None else self._named(to)
            later = {each for each in shelf.numbers() if each > number}
            shelf.point(number, ROLLED_BACK, (shelf.pointer().withdrawn | later) - {number})
        return name_of(number)

    def keep(self, count: int) -> list[str]:
        """Delete all but the newest `count` versions, never the served one; returns what is gone.

        Raises VersionError for a count below 0, StoreError as `publish`.
        """
        if count < 0:
            raise VersionError(f"{count} versions cannot be kept. Give 0 or more; the served one always stays.")
        with self._writing("fewer versions") as shelf:
            numbers = shelf.numbers()
            served = {name_of(shelf.pointer().number), self.served().version}
            old = [number for number in numbers[: max(0, len(numbers) - count)] if name_of(number) not in served]
            for number in old:
                shelf.delete(number)
        return [name_of(number) for number in old]

    @contextmanager
    def _writing(self, what: str) -> Iterator[Shelf]:
        with told_of_failure(what), self._shelf.writing():
            yield self._shelf

    def _weights(self, number: int) -> Path | None:
        return self._shelf.place(number) / f"{self.spec.name}.safetensors" if number else self.base

    def _base_hash(self) -> str | None:
        return read_object((self.base or self.spec.weights_path).with_suffix(".json")).get("sha256")

    def _in_order(self, pointer: Pointer) -> Iterator[int]:
        """What may serve, the best first."""
        earlier = [each for each in self._shelf.numbers() if each < pointer.number and each not in pointer.withdrawn]
        yield from dict.fromkeys((pointer.number, *reversed(earlier), 0))

    def _fault(self, number: int) -> str | None:
        return self._checks.fault(self._weights(number))

    def _stored(self, number: int, withdrawn: bool) -> Stored:
        folder, fault = self._shelf.place(number), self._fault(number)
        published = read_object(folder / f"{self.spec.name}.json").get("published", "")
        return Stored(name_of(number), str(published), read_object(folder / GATE), fault, withdrawn)

    def _before_served(self) -> int:
        """The last whole version before the served one. Raises VersionError."""
        served = self.served().version
        earlier = [each for each in self._in_order(self._shelf.pointer()) if each < (number_of(served) or 0)]
        whole = [number for number in earlier if self._fault(number) is None]
        if not whole:
            raise VersionError(f"{served} of {self.spec.name} serves, and nothing is before it. {self._there_are()}")
        return whole[0]

    def _named(self, name: str) -> int:
        """The number of a version that can be served. Raises VersionError."""
        number = 0 if name == SHIPPED_VERSION else number_of(name)
        if number is None or number not in (0, *self._shelf.numbers()):
            raise VersionError(f"{self.spec.name} has no version {name[:40]!r}. {self._there_are()}")
        fault = self._fault(number)
        if fault:
            raise VersionError(f"{name} of {self.spec.name} cannot be served. {fault} {self._there_are()}")
        return number

    def _there_are(self) -> str:
        return f"There are: {', '.join(map(name_of, (0, *self._shelf.numbers())))}."
