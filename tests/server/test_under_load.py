"""Many clients at once: each gets the mask of its own picture and prompt, and the server answers others meanwhile."""

import functools
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client.client import MONAILabelUtils
from PIL import Image

from harness import Server
from textseg.data.phantoms import draw_radiograph
from textseg.registry import DEFAULT_MODEL

CLIENTS, RUNS, AT_ONCE = 16, 500, 64
PATIENCE, PAUSE = 300, 0.02  # seconds
PROMPTS = (
    "Unilateral pulmonary infection, one infected area, lower left lung",
    "RLL consolidation",
    "Infiltrate in the right upper lobe",
    "Bilateral pulmonary infection",
    "Left upper lobe pneumonia",
    "Bilateral lower lobe opacities",
    "No pulmonary infection",
    "Infection of the right lung",
)
PICTURES = ("load_alpha", "load_bravo", "load_charlie", "load_delta", "load_echo")


@dataclass(frozen=True)
class Answer:
    """What came back: the request's id as the header tells it, the reply, the mask's voxels."""

    header: str
    reply: dict[str, Any]
    mask: np.ndarray

    @property
    def segment(self) -> str:
        """The name of the mask's one segment."""
        (name,) = self.reply["label_names"]
        return name


@dataclass(frozen=True)
class Refused:
    """A request that was sent away."""

    status: int
    retry_after: str | None
    detail: str


def ask(server: Server, folder: Path, picture: str, prompt: str) -> Answer | Refused:
    """One run, through the client's own code, which alone would not show the headers."""
    params = {"prompt": prompt, "client_id": threading.current_thread().name}
    selector = f"/infer/{DEFAULT_MODEL}?image={picture}"
    status, form, files, headers = MONAILabelUtils.http_multipart(
        "POST", server.url, selector, {"params": json.dumps(params)}, {}
    )
    if status != 200:
        return Refused(status, headers.get("Retry-After"), json.loads(form)["detail"])
    mask = MONAILabelUtils.save_result(files, str(folder))
    return Answer(headers["X-Request-ID"], json.loads(form["params"]), sitk.GetArrayFromImage(sitk.ReadImage(mask)) > 0)


def ask_until_answered(server: Server, folder: Path, picture: str, prompt: str) -> tuple[Answer, int]:
    """One run, again where the server is busy and says so in words; the answer, and how often it was busy."""
    for busy in itertools.count():
        answer = ask(server, folder, picture, prompt)
        if isinstance(answer, Answer):
            return answer, busy
        assert_sent_away(answer)
        time.sleep(0.2)
    raise AssertionError


def assert_sent_away(refused: Refused) -> None:
    """503 in words, with the time after which to come again."""
    assert refused.status == 503, refused
    assert int(refused.retry_after) > 0
    assert "busy" in refused.detail and "Try again" in refused.detail


@pytest.fixture(scope="module")
def loaded(server: Server) -> Server:
    """The server with small drawn pictures."""
    places = ({"left": ("lower",), "right": ("upper",)}, {"right": ("lower",)}, {"left": ("upper", "lower")})
    for seed, name in enumerate(PICTURES):
        drawn = draw_radiograph(places[seed % len(places)], seed, 96 + 16 * seed)
        Image.fromarray(drawn.image).save(server.studies / f"{name}.png")
    return server


@pytest.fixture(scope="module")
def alone(loaded: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Answer]:
    """alone(picture, prompt): the answer that it gets when nobody else asks; the same is asked once."""
    folder = tmp_path_factory.mktemp("alone")

    @functools.cache
    def asked(picture: str, prompt: str) -> Answer:
        answer = ask(loaded, folder, picture, prompt)
        assert isinstance(answer, Answer), answer
        return answer

    return asked


class InfoWatch:
    """Asks /info/ all the time, as a viewer that connects, until it is stopped."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/info/"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.answers: list[tuple[int, float]] = []

    def __enter__(self) -> "InfoWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)

    def _watch(self) -> None:
        while not self._stopped.wait(PAUSE):
            begun = time.monotonic()
            try:
                status = requests.get(self._url, timeout=PATIENCE).status_code
            except requests.RequestException:
                status = 0
            self.answers.append((status, time.monotonic() - begun))

    def told(self) -> str:
        """How long the answers took."""
        seconds = [seconds for _, seconds in self.answers]
        p50, p95 = np.percentile(seconds, (50, 95))
        return f"/info/ {len(seconds)} times: p50 {p50:.3f} s, p95 {p95:.3f} s, max {max(seconds):.3f} s"


def test_every_client_gets_the_mask_of_its_own_picture_and_prompt(
    loaded: Server, tmp_path: Path, alone: Callable[[str, str], Answer]
) -> None:
    rng = random.Random(7)
    asked = [(rng.choice(PICTURES), rng.choice(PROMPTS)) for _ in range(RUNS)]
    expected = {pair: alone(*pair) for pair in sorted(set(asked))}

    def worked(number: int) -> tuple[Answer, int]:
        picture, prompt = asked[number]
        return ask_until_answered(loaded, tmp_path, picture, f"{prompt} ({number})")

    begun = time.monotonic()
    with InfoWatch(loaded) as watch, ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(worked, range(RUNS)))
    took = time.monotonic() - begun
    busy = sum(count for _, count in answers)
    print(f"\n{RUNS} runs by {CLIENTS} clients in {took:.1f} s, {busy} times busy; {watch.told()}")
    for number, (answer, _) in enumerate(answers):
        wanted = expected[asked[number]]
        assert answer.reply["prompt"] == f"{asked[number][1]} ({number})"
        assert answer.reply["prompt_source"] == "typed"
        assert (answer.segment, answer.reply["finding"]) == (wanted.segment, wanted.reply["finding"])
        assert answer.reply["request_id"] == answer.header
        assert np.array_equal(answer.mask, wanted.mask), asked[number]
    assert len({answer.header for answer, _ in answers}) == RUNS
    assert {status for status, _ in watch.answers} == {200}


def test_the_pictures_of_this_test_have_masks_that_differ(alone: Callable[[str, str], Answer]) -> None:
    masks = [alone(picture, prompt).mask for picture in PICTURES for prompt in PROMPTS]
    assert len({(mask.shape, mask.tobytes()) for mask in masks}) > len(masks) // 2


def test_what_is_too_much_at_once_is_sent_away_in_words(loaded: Server, tmp_path: Path) -> None:
    ready = threading.Barrier(AT_ONCE)

    def rush(number: int) -> Answer | Refused:
        ready.wait(PATIENCE)
        return ask(loaded, tmp_path, PICTURES[number % len(PICTURES)], f"{PROMPTS[0]} ({number})")

    with InfoWatch(loaded) as watch, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(rush, range(AT_ONCE)))
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    print(f"\n{AT_ONCE} at once: {len(refused)} sent away; {watch.told()}")
    assert 0 < len(refused) < AT_ONCE
    for answer in refused:
        assert_sent_away(answer)
    for number, answer in enumerate(answers):
        if isinstance(answer, Answer):
            assert answer.reply["prompt"] == f"{PROMPTS[0]} ({number})"
    assert {status for status, _ in watch.answers} == {200}
    assert isinstance(ask(loaded, tmp_path, PICTURES[0], PROMPTS[0]), Answer)
    assert loaded.process.poll() is None
