"""What tests of retraining share: drawn pictures of several sizes, labels as Slicer sends them, runs meanwhile."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from PIL import Image

from harness import Server
from textseg.data.phantoms import draw_radiograph
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.text.sentence import canonical

SPEC = model_spec(DEFAULT_MODEL)
PLACES = {
    "kilo": {"left": ("lower",), "right": ("upper",)},
    "lima": {"left": ("upper",), "right": ("lower",)},
    "mike": {"right": ("middle",)},
    "november": {"left": ("lower",)},
}
SIZES = {"kilo": 160, "lima": 176, "mike": 192, "november": 208}
PATIENCE = 400  # seconds
SIDES = ("left", "right")


def draw(folder: Path) -> dict[str, np.ndarray]:
    """Pictures in a studies folder with their prompts; name -> exact mask."""
    masks, lines = {}, ["image,prompt"]
    for number, (name, places) in enumerate(PLACES.items()):
        phantom = draw_radiograph(places, 700 + number, SIZES[name])
        Image.fromarray(phantom.image).save(folder / f"{name}.png")
        masks[name] = phantom.mask
        lines.append(f'{name},"{canonical(phantom.finding)}"')
    (folder / "prompts.csv").write_text("\n".join(lines) + "\n")
    return masks


def submit(server: Server, folder: Path, name: str, mask: np.ndarray) -> dict[str, Any]:
    """A label as Slicer sends it; the reply."""
    file = folder / f"{name}.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(mask[None].astype(np.uint8)), str(file))
    label = {"label_info": [{"name": "infection", "idx": 1}]}
    return server.client(folder).save_label(name, str(file), params=label)


def begin(server: Server, folder: Path, model: str = DEFAULT_MODEL, **changed: Any) -> dict[str, Any]:
    """Slicer's Train: every option of /info, drop-downs by their first entry."""
    client = server.client(folder)
    config = client.info()["trainers"][model]["config"]
    first = {key: value[0] if isinstance(value, list) else value for key, value in config.items()}
    return client.train_start(model, {**first, "max_epochs": 1, **changed})


def stats(server: Server, model: str = DEFAULT_MODEL) -> dict[str, Any]:
    """What Slicer's bars are drawn from."""
    return requests.get(f"{server.url}/info/", timeout=60).json()["train_stats"][model]


def runs(server: Server) -> bool:
    """Whether a training runs, as Slicer asks every five seconds."""
    return requests.get(f"{server.url}/train/", params={"check_if_running": True}, timeout=60).status_code == 200


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `holds` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.3)
    pytest.fail("it did not come true in time")


def versions_of(server: Server, model: str = DEFAULT_MODEL) -> Versions:
    """The versions of a model on a server."""
    return Versions(server.app / "model" / model, model_spec(model))


def assert_own_answers(server: Server, folder: Path, count: int) -> None:
    """Two clients at once, `count` runs each, every one with its own picture and a side in turn: none gets another's.

    kilo and lima are infected on both sides, and are of different sizes.
    """

    def run(picture: str) -> None:
        own = folder / picture
        own.mkdir()
        for number in range(count):
            side = SIDES[number % 2]
            mask, reply = server.infer(own, picture, prompt=f"infection, {side} lung")
            drawn = sitk.GetArrayFromImage(mask)[0] > 0
            assert drawn.shape == (SIZES[picture],) * 2
            halves = {"right": drawn[:, : SIZES[picture] // 2].sum(), "left": drawn[:, SIZES[picture] // 2 :].sum()}
            assert halves[side] > 5 * halves[SIDES[1 - number % 2]], (picture, side, halves)
            assert side[0].upper() in next(iter(reply["label_names"]))

    with ThreadPoolExecutor(2) as clients:
        for done in [clients.submit(run, picture) for picture in ("kilo", "lima")]:
            done.result()


def assert_answers_meanwhile(server: Server, folder: Path, count: int) -> None:
    """`assert_own_answers`, and never more than some seconds until /info answers beside them."""
    over, slowest = threading.Event(), [0.0]

    def look() -> None:
        while not over.wait(0.2):
            started = time.monotonic()
            requests.get(f"{server.url}/info/", timeout=60)
            slowest[0] = max(slowest[0], time.monotonic() - started)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        assert_own_answers(server, folder, count)
    finally:
        over.set()
        looking.join(60)
    assert slowest[0] < 5
