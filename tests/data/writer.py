"""Writers that save labels and prompts until they are killed, and the process that starts and kills them.

`python writer.py` imports the store once, then takes orders from its standard input, one JSON object a line, and
answers each with a line: `{"write": {...}}` forks a writer (see `write`) and answers its process id; `{"kill": ID}`
ends it with SIGKILL and answers the signal that ended it (0 where it had ended by itself).
"""

import json
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from keeping import entry, random_label, save

from textseg.data.store.shown import TAGS
from textseg.data.store.store import Store

LONGEST = 20_000  # voxels of a label


@dataclass(frozen=True)
class Saved:
    """What a writer acknowledges: this is kept."""

    picture: str
    tag: str
    number: int
    sha256: str
    prompt: str


def keep_one(store: Store, picture: str, prompt: str, rng: random.Random) -> Saved:
    """Save a label and its prompt; when this returns, both are kept."""
    tag, suffix = rng.choice(TAGS), rng.choice((".nrrd", ".nrrd", ".mha"))
    data = random_label(rng, LONGEST, suffix)
    version = save(store, picture, data, tag, suffix=suffix, prompt=prompt)
    store.remember(picture, entry(prompt, segment=tag), np.ones((1, 8, 8)))
    return Saved(picture, tag, version.number, version.sha256, prompt)


def keep_many(studies: Path, pictures: list[str], seed: int) -> Iterator[Saved]:
    """Save without end, one picture after the other by chance."""
    store, rng, count = Store(studies), random.Random(seed), 0
    while True:
        count += 1
        yield keep_one(store, rng.choice(pictures), f"left lung,\nüber {seed}.{count} 🫁", rng)


def write(studies: str, pictures: list[str], seed: int, told: str) -> None:
    """Save until killed; append a line to the file `told` after each save that returned. Ends with its parent."""
    parent, handle = os.getppid(), os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for saved in keep_many(Path(studies), pictures, seed):
        os.write(handle, json.dumps(asdict(saved)).encode() + b"\n")
        if os.getppid() != parent:
            os._exit(1)


def start(order: dict[str, object]) -> int:
    """A writer in a process of its own; its id."""
    process = os.fork()
    if process == 0:
        try:
            write(**order)
        finally:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)
    return process


def kill(process: int) -> int:
    """End a writer at once; the signal that ended it."""
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main() -> None:
    """Take orders until there are no more. What is logged is no failure: only a traceback may reach standard error."""
    logging.disable()
    for line in sys.stdin:
        order = json.loads(line)
        print(start(order["write"]) if "write" in order else kill(order["kill"]), flush=True)


if __name__ == "__main__":
    main()
