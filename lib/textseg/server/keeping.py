"""What is kept of pictures while they are worked on: who they are, what was asked of them, and their labels."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textseg.data.joined import Known
from textseg.data.prompts_table import PromptsTable
from textseg.data.store.clients import Client, Clients
from textseg.data.store.durable import iso_time
from textseg.data.store.history import PromptEntry
from textseg.data.store.labels import MACHINE, PERSON, LabelledSegment, LabelVersion
from textseg.data.store.store import Store
from textseg.errors import DataError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.kinds import suffix_of
from textseg.imaging.picture import XRAY, Picture
from textseg.imaging.read import read_picture
from textseg.server.delivery import state_of
from textseg.server.submit import Submission, about, read_submission

logger = logging.getLogger(__name__)


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


class Keeping:
    """The store, the table of prompts and the clients of one studies folder, as requests use them."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.clients = Clients(folder)
        self.table = PromptsTable(folder)

    def known(self, image_id: str, path: Path) -> Known:
        """What is known of the picture that lies at `path` now, not of an earlier one of that name.

        Raises PictureError, StoreError.
        """
        kept = self.store.known(image_id)
        if kept.get("pixels_sha256") and kept.get("seen") != state_of(path).hex():
            self.identify(image_id, path, read_picture(path, XRAY))
        return self._known(image_id)

    def identify(self, image_id: str, path: Path, picture: Picture) -> str:
        """The SHA-256 of a picture's decoded pixels.

        When another picture of that name was here before, its prompts and labels are set aside in the trash: they must
        not be taken for this one's.
        """
        seen = state_of(path).hex()
        known = self.store.known(image_id)
        if known.get("seen") == seen and known.get("pixels_sha256"):
            return known["pixels_sha256"]
        pixels = pixels_sha256(picture)
        if known.get("pixels_sha256") not in (None, pixels):
            logger.warning(
                "%s is another picture than before: what was kept of the earlier one is in the trash", image_id
            )
            self.store.discard_picture(image_id, why="another picture of that name")
        self.store.note(image_id, pixels_sha256=pixels, seen=seen)
        return pixels

    def remember_run(self, image_id: str, path: Path, picture: Picture, entry: PromptEntry, mask: np.ndarray) -> None:
        """A run on a picture of the studies; mask: z, y, x on the picture's own grid."""
        self.identify(image_id, path, picture)
        self.store.remember(image_id, entry, mask)

    def remember_session_run(self, client: Client, picture: Picture, entry: PromptEntry) -> None:
        """A run in a session: the picture has no name yet."""
        self.clients.keep_session_prompt(client, entry, pixels_sha256(picture))

    def submit(
        self,
        image_id: str,
        path: Path,
        picture: Picture,
        file: Path,
        tag: str,
        info: dict[str, Any],
        client: Client,
        request_id: str,
    ) -> Submitted:
        """A person's label: checked, joined with its prompts, kept as a new version. Raises TextSegError."""
        pixels = self.identify(image_id, path, picture)
        if self.store.history(image_id).last is None:
            of_session = self.clients.take_session_prompt(client, pixels)
            if of_session is not None:
                self.store.remember(image_id, of_session)
        known = self._known(image_id)
        submission = read_submission(image_id, file, info.get("label_info"), picture, known)
        version = self._save(image_id, tag, submission, known, about(info, client.id, client.address, request_id))
        return Submitted(version, (*([known.fault] if known.fault else []), *submission.sentences))

    def save_run(self, image_id: str, tag: str, file: Path, entry: PromptEntry, info: dict[str, Any]) -> LabelVersion:
        """A machine's mask as a label. Raises LabelProtected where a person's final label is."""
        segment = LabelledSegment(
            (1,),
            (entry.segment,),
            entry.source,
            entry.prompt,
            entry.laterality,
            entry.finding,
            entry.canonical,
            entry.model,
            entry.version,
        )
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
        return Known(self.store.history(image_id), row, lambda name: self.store.made(image_id, name), fault)

    def _save(self, image_id: str, tag: str, submission: Submission, known: Known, who: dict[str, Any]) -> LabelVersion:
        remembered = known.history.remembered
        return self.store.save_label(
            image_id,
            tag,
            submission.data,
            submission.suffix,
            by=PERSON,
            time=iso_time(),
            segments=submission.joined.segments,
            dropped=submission.joined.dropped,
            prompt=remembered.prompt if remembered else "",
            model_version=remembered.version if remembered else "",
            **who,
        )
