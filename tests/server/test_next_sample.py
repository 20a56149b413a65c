"""Next Sample over HTTP, as stock Slicer and OHIF ask: which picture, whose it is, with its words and its mask."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from monailabel.client import MONAILabelClient
from PIL import Image

from harness import Server
from slicer import Slicer
from textseg.data.phantoms import draw_radiograph
from textseg.data.store.labels import MACHINE
from textseg.data.store.store import Store
from textseg.registry import DEFAULT_MODEL
from textseg.text.sentence import canonical

PLACES = {
    "alpha": {"left": ("lower",)},
    "bravo": {"right": ("upper",)},
    "charlie": {"right": ("lower",)},
    "delta": {"left": ("lower",), "right": ("lower",)},
    "echo": {"left": ("upper",)},
    "foxtrot": {"right": ("middle",)},
}
UNREADABLE, WITHOUT = "echo", "foxtrot"
TYPED = "RLL consolidation"
PATIENCE = 240.0


@pytest.fixture(scope="module")
def own(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that scores, on drawn pictures with prompts: one that cannot be read, one missing."""
    studies, lines = tmp_path_factory.mktemp("studies"), ["image,prompt"]
    for seed, (name, places) in enumerate(PLACES.items(), start=40):
        phantom = draw_radiograph(places, seed, 160)
        Image.fromarray(phantom.image).save(studies / f"{name}.png")
        prompt = "fracture of the femur" if name == UNREADABLE else canonical(phantom.finding)
        lines += [f'{name}.png,"{prompt}"'] if name != WITHOUT else []
    (studies / "prompts.csv").write_text("\n".join(lines) + "\n")
    return start_server(studies, "--conf", "scoring", "on")


@pytest.fixture
def slicer(own: Server, tmp_path: Path) -> Slicer:
    """Anna's window, connected."""
    window = Slicer(own, tmp_path, client_id="anna")
    window.connect()
    return window


def client(server: Server, folder: Path, name: str) -> MONAILabelClient:
    """Slicer's client without a window."""
    return MONAILabelClient(server.url, tmpdir=str(folder), client_id=name)


def segment_beforehand(server: Server, folder: Path, name: str) -> dict[str, Any]:
    """As batch inference does it; returns the reply."""
    params = {"save_label": True, "label_tag": "original", "result_extension": ".nrrd"}
    return client(server, folder, "batch").infer(DEFAULT_MODEL, name, params)[1]


def next_until(window: Slicer, name: str) -> dict[str, Any]:
    """Click until that picture opens."""
    for _ in range(2 * len(PLACES)):
        sample = window.next_sample()
        if sample["id"] == name:
            return sample
    pytest.fail(f"{name} was never offered")


def test_both_strategies_are_shown_with_what_they_do(own: Server, tmp_path: Path) -> None:
    strategies = client(own, tmp_path, "anna").info()["strategies"]
    assert set(strategies) == {"random", "uniform"}
    assert "least sure" in strategies["random"]["description"]
    assert "by chance" in strategies["uniform"]["description"]


def test_pictures_are_scored_without_a_process_and_the_best_comes_first_with_its_words(
    own: Server, tmp_path: Path
) -> None:
    deadline = time.monotonic() + PATIENCE
    while f"{len(PLACES)} of {len(PLACES)} pictures are scored" not in own.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    anna = client(own, tmp_path, "anna")
    samples = [anna.next_sample("random", {}) for _ in PLACES]
    assert psutil.Process(own.process.pid).children(recursive=True) == []
    assert {sample["id"] for sample in samples} == set(PLACES)
    assert [sample["asks_for_prompt"] for sample in samples] == [False] * 4 + [True] * 2
    assert all(0 <= sample["score"] <= 1 and sample["reason"] for sample in samples)
    first = samples[0]
    assert first["prompt_source"] == "csv" and "pulmonary infection, " in first["prompt"]
    info = requests.get(f"{own.url}/datastore/image/info", params={"image": first["id"]}, timeout=60).json()
    assert info["prompt"] == first["prompt"] and info["strategy"]["random"]["client_id"] == "anna"
    by_name = {sample["id"]: sample for sample in samples}
    assert "write what to segment" in by_name[WITHOUT]["message"]
    assert "prompts.csv cannot be used" in by_name[UNREADABLE]["message"]


def test_a_remembered_prompt_comes_with_the_sample(own: Server, slicer: Slicer) -> None:
    next_until(slicer, WITHOUT)
    slicer.type(TYPED)
    slicer.run()
    sample = next_until(slicer, WITHOUT)
    assert (sample["prompt"], sample["prompt_source"], sample["asks_for_prompt"]) == (TYPED, "remembered", False)
    assert slicer.reply["prompt_source"] == "remembered"


def test_a_mask_that_was_made_beforehand_opens_and_is_what_slicers_own_run_returns(
    own: Server, slicer: Slicer, tmp_path: Path
) -> None:
    made = segment_beforehand(own, tmp_path, "delta")
    (name,) = made["label_names"]
    store = Store(own.studies)
    runs = len(store.history("delta").entries)
    next_until(slicer, "delta")
    assert set(slicer.segments) == {"infection", name} and slicer.segment == name
    kept = store.label_path("delta", "original", version := store.current_label("delta", "original"))
    assert version.by == MACHINE and kept.is_file()
    shown = slicer.segments[name]
    assert shown.any() and (made["prompt"], made["finding"]) == (slicer.reply["prompt"], slicer.reply["finding"])
    assert slicer.reply["request_id"] != made["request_id"] and "made beforehand" in slicer.reply["warnings"][0]
    assert len(store.history("delta").entries) == runs
    assert store.current_label("delta", "original") == version
    slicer.run()  # what a person asks for is run
    assert len(store.history("delta").entries) == runs + 1
    assert np.array_equal(slicer.segments[name], shown)  # the same words and weights


def test_words_that_somebody_chose_since_go_before_the_mask_of_before(
    own: Server, slicer: Slicer, tmp_path: Path
) -> None:
    segment_beforehand(own, tmp_path, "charlie")
    next_until(slicer, "charlie")
    assert slicer.segment.startswith("[from CSV]")
    slicer.type("infection, upper left lung")
    slicer.run()
    next_until(slicer, "charlie")
    assert slicer.reply["prompt_source"] == "remembered" and "L upper" in slicer.segment


def test_words_that_stand_in_the_table_since_go_before_the_mask_of_before(
    own: Server, slicer: Slicer, tmp_path: Path
) -> None:
    segment_beforehand(own, tmp_path, "bravo")
    next_until(slicer, "bravo")
    assert "made beforehand" in slicer.reply["warnings"][0]
    table = own.studies / "prompts.csv"
    before, after = (
        f'bravo.png,"{canonical(draw_radiograph(PLACES[name], 40, 160).finding)}"' for name in ("bravo", "delta")
    )
    text = table.read_text()
    assert before in text
    table.write_text(text.replace(before, after))
    next_until(slicer, "bravo")
    assert slicer.reply["prompt"] in after and "made beforehand" not in " ".join(slicer.reply["warnings"])
    table.write_text(text)


def test_a_mask_made_beforehand_is_submitted_with_its_words(own: Server, slicer: Slicer) -> None:
    next_until(slicer, "delta")
    (segment,) = [each for each in slicer.submit()["segments"] if each["prompt"]]
    assert segment["names"] == [slicer.segment] and segment["prompt"] == slicer.reply["prompt"]


def test_two_clients_who_ask_in_turn_never_have_the_same(own: Server, tmp_path: Path) -> None:
    has = {}
    for number in range(24):
        who = ("bert", "carla")[number % 2]
        has[who] = client(own, tmp_path, who).next_sample(("random", "uniform")[number // 2 % 2], {})["id"]
        assert len(set(has.values())) == len(has)


def test_when_all_were_offered_the_own_oldest_returns_and_the_reply_says_so(own: Server, tmp_path: Path) -> None:
    dora = client(own, tmp_path, "dora")
    first = dora.next_sample("random", {})
    assert "given to others" in first["message"]  # by those before
    again = dora.next_sample("random", {})
    assert again["id"] == first["id"] and "you have had longest" in again["message"]
    assert again["weight"] >= 0


def test_none_left_is_told_as_slicer_and_ohif_show_it(own: Server, slicer: Slicer) -> None:
    for _ in range(len(PLACES)):
        sample = slicer.next_sample()
        if not sample.get("id"):
            break
        slicer.segments["infection"][0, 40:60, 40:60] = True
        slicer.submit()
    sample = slicer.next_sample()
    assert "id" not in sample and "Every picture has a final label" in sample["message"]
    answer = requests.post(f"{own.url}/activelearning/random", json={}, timeout=60)  # OHIF
    assert answer.status_code == 404 and "Every picture has a final label" in answer.json()["detail"]
    answer = requests.post(f"{own.url}/activelearning/no_such", json={}, timeout=60)
    assert answer.status_code == 422 and "random, uniform" in answer.json()["detail"]
