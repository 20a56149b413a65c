"""What is remembered of a viewer, so that the text which stock Slicer carries over to the next picture is recognised.

After the first typed prompt Slicer never sends a blank one, and Next Sample runs the model by itself: with the text of
the picture before. Only a hash of the text is kept. The one exception is the last prompt of a session: there the
picture has no name yet, so the prompt waits here until the label is submitted.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textseg.data.store.durable import locked, read_json, to_json, told_of_failure, write_whole
from textseg.data.store.history import PromptEntry
from textseg.data.store.layout import Layout


@dataclass(frozen=True)
class Client:
    """Slicer's default client id is the same for everyone, so the address tells clients apart as well."""

    id: str = ""
    address: str = ""

    @property
    def key(self) -> str:
        """A name for files."""
        return _hash(f"{self.id}\n{self.address}")


class Clients:
    """The clients of one studies folder."""

    def __init__(self, studies: Path) -> None:
        self._layout = Layout(studies)

    def give(self, client: Client, image_id: str) -> None:
        """Next Sample has given this picture to this client."""
        self._change(client, given=image_id)

    def carried_over(self, client: Client, image_id: str, prompt: object, preset: object) -> bool:
        """True for the first run on the picture that Next Sample gave, with the text of the run before or without any.

        To be asked once per run: it remembers the text for the next one.
        """
        text = _hash(f"{prompt}\n{preset}")
        blank = not str(prompt).strip() and not str(preset).strip()
        with self._locked(client):
            before = self._read(client)
            given = before.get("given") == image_id
            after = {**before, "text": text, "given": None if given else before.get("given")}
            if after != before:
                self._write(client, after)
        return given and (blank or before.get("text") == text)

    def keep_session_prompt(self, client: Client, entry: PromptEntry, pixels_sha256: str) -> None:
        """The last prompt that this client asked in a session, and of which pixels."""
        self._change(client, session={"pixels_sha256": pixels_sha256, "entry": entry.to_json()})

    def take_session_prompt(self, client: Client, pixels_sha256: str) -> PromptEntry | None:
        """The client's last prompt of a session if it was asked of these pixels; it is given once."""
        with self._locked(client):
            content = self._read(client)
            session = content.get("session") or {}
            if session.get("pixels_sha256") != pixels_sha256:
                return None
            self._write(client, {**content, "session": None})
        return PromptEntry.of(session["entry"])

    def drop_session_prompts(self, older_than: float) -> None:
        """Erase prompts of sessions that were asked more than so many seconds ago: nobody will submit for them."""
        for path in self._layout.clients.glob("*.json"):
            with told_of_failure("the erasure"), locked(self._layout.lock(path.stem)):
                content = read_json(path) or {}
                if content.get("session") and time.time() - path.stat().st_mtime > older_than:
                    write_whole(path, to_json({**content, "session": None}), self._layout.unfinished, power_cuts=False)

    def forget(self, image_id: str, pixels_sha256: str) -> None:
        """Erase what is remembered of a picture, in every client."""
        for path in self._layout.clients.glob("*.json"):
            with told_of_failure("the erasure"), locked(self._layout.lock(path.stem)):
                content = read_json(path) or {}
                session = content.get("session") or {}
                if content.get("given") == image_id or session.get("pixels_sha256") == pixels_sha256:
                    path.unlink()

    def _change(self, client: Client, **changes: Any) -> None:
        with self._locked(client):
            self._write(client, {**self._read(client), **changes})

    @contextmanager
    def _locked(self, client: Client) -> Iterator[None]:
        with told_of_failure("what the viewer was given"), locked(self._layout.lock(client.key)):
            yield

    def _read(self, client: Client) -> dict[str, Any]:
        return read_json(self._layout.client(client.key)) or {}

    def _write(self, client: Client, content: dict[str, Any]) -> None:
        write_whole(self._layout.client(client.key), to_json(content), self._layout.unfinished, power_cuts=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
