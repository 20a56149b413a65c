"""What is kept of pictures while they are worked on: who they are, what was asked of them, and their labels."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from textseg.data.joined import Known
from textseg.data.prompts_table import PromptsTable
from textseg.data.store.clients import Client, Clients
from textseg.data.store.durable import iso_time
from textseg.data.store.history import CSV, NONE, REMEMBERED, PromptEntry
from textseg.data.store.labels import MACHINE, PERSON, LabelledSegment, LabelVersion
from textseg.data.store.store import Store
from textseg.errors import DataError, PictureError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.kinds import suffix_of
from textseg.imaging.picture import XRAY, Picture
from textseg.imaging.read import read_picture
from textseg.server.delivery import state_of
from textseg.server.submit import Submission, about, read_submission


@dataclass(frozen=True)
class Submitted:
    """What the one who submitted a label is told."""

    version: LabelVersion
    sentences: tuple[str, ...]

    def reply(self) -> dict[str, Any]:
        """Joins MONAI Label's own reply."""
        segments = [
            {"names": segment.names, "prompt": segment.prompt, "source": segment.source}
            for segment in self.version.segments
        ]
        told = {"version": self.version.number, "segments": segments, "dropped": list(self.version.dropped)}
        return {**told, "warnings": list(self.sentences)}


@dataclass(frozen=True)
class Sender:
    """Who sends a label, and in which request."""

    client: Client
    request_id: str


class Keeping:
    """The store, the table of prompts and the clients of one studies folder, as requests use them."""

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self._folder, self._read_only = folder, read_only
        self.store = Store(folder)
        self.clients = Clients(folder)
        self.table = PromptsTable(folder)

    @property
    def writable(self) -> bool:
        """False where nothing may be written: then models run, and nothing is kept."""
        return not self._read_only and os.access(self._folder, os.W_OK)

    def known(self, image_id: str, path: Path) -> Known:
        """What is known of the picture that lies at `path` now, not of an earlier one of that name.

        Raises PictureError, StoreError.
        """
        seen = state_of(path).hex()
        if self.store.known(image_id).get("seen") != seen and self.store.layout.picture(image_id).is_dir():
            pixels = pixels_sha256(read_picture(path, XRAY))
            if self.writable:
                self.store.identify(image_id, seen, pixels)
            elif self.store.known(image_id).get("pixels_sha256") != pixels:
                return Known()
        return self._known(image_id)

    def identify(self, image_id: str, path: Path, seen: str, picture: Picture) -> str:
        """The SHA-256 of a picture's decoded pixels. seen: the state of its file before it was read.

        Raises PictureError when the file has changed since: what was done belongs to no picture that is there.
        """
        known = self.store.known(image_id)
        if known.get("seen") == seen and known.get("pixels_sha256"):
            return known["pixels_sha256"]
        pixels = pixels_sha256(picture)
        if state_of(path).hex() != seen:
            raise PictureError(f"{image_id} was replaced by another picture meanwhile. Open it again.")
        self.store.identify(image_id, seen, pixels)
        return pixels

    def remember_run(
        self, image_id: str, path: Path, seen: str, picture: Picture, entry: PromptEntry, mask: np.ndarray
    ) -> None:
        """A run on a picture of the studies; seen: as in `identify`. mask: z, y, x on the picture's own grid."""
        self.identify(image_id, path, seen, picture)
        self.store.remember(image_id, entry, mask)

    def remember_session_run(self, client: Client, picture: Picture, entry: PromptEntry) -> None:
        """A run in a session: the picture has no name yet."""
        self.clients.keep_session_prompt(client, entry, pixels_sha256(picture))

    def submit(
        self, image_id: str, path: Path, file: Path, tag: str, info: dict[str, Any], sender: Sender
    ) -> Submitted:
        """A person's label: checked, joined with its prompts, kept as a new version. Raises TextSegError."""
        seen = state_of(path).hex()
        picture = read_picture(path, XRAY)  # whatever its modality: only its grid and pixels count
        pixels = self.identify(image_id, path, seen, picture)
        client = sender.client
        if self.store.history(image_id).last is None:
            of_session = self.clients.take_session_prompt(client, pixels)
            if of_session is not None:
                self.store.remember(image_id, of_session)
        known = replace(self._known(image_id), client=client.id, address=client.address)
        submission = read_submission(image_id, file, info.get("label_info"), picture, known)
        version = self._save(image_id, tag, submission, about(info, client.id, client.address, sender.request_id))
        return Submitted(version, (*([known.fault] if known.fault else []), *submission.sentences))

    def save_run(self, image_id: str, tag: str, file: Path, entry: PromptEntry, info: dict[str, Any]) -> LabelVersion:
        """A machine's mask as a label. Raises LabelProtected where a person's label is."""
        segment = LabelledSegment.of_run((1,), (entry.segment,), entry.source, entry)
        who = {"client": entry.client, "address": entry.address, "user": entry.user, "request_id": entry.request_id}
        return self.store.save_label(
            image_id,
            tag,
            file.read_bytes(),
            suffix_of(file),
            by=MACHINE,
            time=iso_time(),
            segments=(segment,),
            prompt=entry.prompt,
            model=entry.model,
            model_version=entry.version,
            info=info,
            **who,
        )

    def _known(self, image_id: str) -> Known:
        """A damaged table of prompts is told; it costs nobody a label or a run with a text of its own."""
        row, fault = None, ""
        try:
            row = self.table.row(image_id)
        except DataError as error:
            fault = str(error)
        except OSError as error:
            fault = f"prompts.csv cannot be opened ({error.strerror}). Give the server the right to read it."
        return Known(self.store.history(image_id), row, lambda name: self.store.made(image_id, name), fault)

    def _save(self, image_id: str, tag: str, submission: Submission, who: dict[str, Any]) -> LabelVersion:
        prompted = [segment for segment in submission.joined.segments if segment.prompt]
        return self.store.save_label(
            image_id,
            tag,
            submission.data,
            submission.suffix,
            by=PERSON,
            time=iso_time(),
            segments=submission.joined.segments,
            dropped=submission.joined.dropped,
            prompt="; ".join(segment.prompt for segment in prompted),
            model_version=prompted[0].version if prompted else "",
            **who,
        )


def told_words(known: Known) -> dict[str, Any]:
    """What a picture's info tells: `prompt`, as it was written, and `prompt_source`."""
    if known.history.remembered is not None:
        return {"prompt": known.history.remembered.prompt, "prompt_source": REMEMBERED}
    if known.row is not None and known.row.prompt:
        return {"prompt": known.row.prompt, "prompt_source": CSV}
    return {"prompt": "", "prompt_source": NONE}
