"""Where the store keeps what, below the studies. Documented for people in its own README."""

import hashlib
from pathlib import Path

FOLDER = ".textseg"  # below the studies: what the server itself keeps there
README = """This folder belongs to textseg. It keeps what must not be lost of the pictures beside it.

store.json              version of this layout
pictures/<picture>/
  picture.json          SHA-256 of the decoded pixels, what is known of the picture
  prompts.jsonl         every prompt: as typed, how it was read, model, version, client, time; one JSON object per line
  labels/<tag>/         every version of its label: NNNNNN.<suffix>, and NNNNNN.json with who, when, prompt, model
  made/                 the last mask that the server made under each segment name
scores/<picture>.json   how much a model was unsure of it, by weights and words, in numbers and hashes
leases.json             which picture was given to which viewer (a hash), and when
clients/                per viewer: which picture it was given, a hash of its last text, the last prompt of a session
trash/<picture>/        labels and pictures that were deleted
delivered/, locks/, scores/, unfinished/   can be deleted while no server runs

Prompts are health data. `textseg forget PICTURE --studies FOLDER` erases all of this for one picture (not the picture
itself). labels/ beside the pictures shows the current version of each label.
"""


class Layout:
    """The store's paths for one studies folder."""

    def __init__(self, studies: Path) -> None:
        self.studies = studies
        self.root = studies / FOLDER
        self.about = self.root / "store.json"
        self.pictures = self.root / "pictures"
        self.clients = self.root / "clients"
        self.scores = self.root / "scores"
        self.leases = self.root / "leases.json"
        self.trash = self.root / "trash"
        self.unfinished = self.root / "unfinished"

    def picture(self, image_id: str) -> Path:
        """All that is kept of a picture."""
        return self.pictures / image_id

    def prompts(self, image_id: str) -> Path:
        """A picture's history of prompts."""
        return self.picture(image_id) / "prompts.jsonl"

    def known(self, image_id: str) -> Path:
        """What is known of a picture."""
        return self.picture(image_id) / "picture.json"

    def labels(self, image_id: str, tag: str) -> Path:
        """The versions of a picture's label."""
        return self.picture(image_id) / "labels" / tag

    def shown(self, tag: str) -> Path:
        """The folder beside the pictures that shows the current version of each label, as in MONAI Label."""
        return self.studies / "labels" / tag

    def made(self, image_id: str) -> Path:
        """The masks that were made of a picture."""
        return self.picture(image_id) / "made"

    def client(self, key: str) -> Path:
        """What is remembered of a client."""
        return self.clients / f"{key}.json"

    def lock(self, name: str) -> Path:
        """The lock of a picture or client; some share one. Never removed: a process that waits holds the file."""
        return self.root / "locks" / hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:2]
