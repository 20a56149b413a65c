"""What is known of a picture's words before anybody asks: the remembered prompt, else its row in prompts.csv."""

import hashlib
import json
from pathlib import Path

from textseg.choosing.scores import Key
from textseg.data.joined import Known
from textseg.server.delivery import state_of
from textseg.server.infer import Asked, Job, which_text
from textseg.server.options import read_options
from textseg.text.prompt import Reading

ASKS = "No prompt is known for this picture: write what to segment into `prompt`, and click Run."


def words_of(known: Known, path: Path, spoken: str | None) -> Asked:
    """The text that counts where nobody gives another one; its source is none where there is none that can be used.

    spoken: as in `read_prompt`. The warnings say what cannot be used of what is known.
    """
    job = Job({}, path, "", known.row, known.fault, known.history.remembered, carried_over=True)
    return which_text(read_options({}, 0.5), job, spoken)


def key_of(path: Path, weights: str, reading: Reading | None) -> Key:
    """What a score of the picture that lies at `path` now holds for. weights: SHA-256 of those that serve."""
    return Key(hashlib.sha256(state_of(path)).hexdigest()[:16], weights, hash_of(reading))


def hash_of(reading: Reading | None) -> str:
    """Stands for all that a model may read of a prompt; "" for none."""
    if reading is None:
        return ""
    finding = reading.finding.to_json() if reading.finding else None
    said = json.dumps([finding, reading.bilateral, reading.words], sort_keys=True)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
