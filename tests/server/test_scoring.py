"""Scores come while nobody asks, give way at once, follow words and weights; a click only reads."""

import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from scored_site import NAMES, Current, Site, wait_until
from stand_in import SIZE, stand_in
from textseg.choosing.order import ASKS, UNSCORED
from textseg.choosing.ranking import ARCHIVE, OFF, UNKNOWN
from textseg.data.store.clients import Client
from textseg.data.store.durable import iso_time
from textseg.data.store.history import TYPED, PromptEntry
from textseg.server.infer_queue import InferQueue
from textseg.server.next_pictures import NextPictures

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.exec")


def test_everything_is_scored_while_nobody_asks(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    assert [each.picture for each in site.choosing.ranking][-1] == "delta"  # it has no prompt
    assert {path.stem for path in (site.folder / ".textseg" / "scores").iterdir()} == set(NAMES)


def test_nothing_is_scored_while_a_request_waits_or_runs(site: Site) -> None:
    with site.queue.turn():
        site.begin()
        time.sleep(0.3)
        assert site.current.network.passes == 0
    wait_until(lambda: site.current.network.passes)
    with site.queue.turn():
        time.sleep(0.1)  # a step that was begun may end
        before = site.current.network.passes
        time.sleep(0.3)
        assert site.current.network.passes == before
    wait_until(site.all_scored)


def test_a_second_server_on_the_same_studies_computes_nothing_again(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    before = site.scores()
    site.choosing.close()
    passes = site.current.network.passes
    later = NextPictures(site.studies, {})
    later.begin(site.current, site.queue)
    wait_until(lambda: {each.picture: each.score for each in later.ranking} == before)
    later.close()
    assert site.current.network.passes == passes


def test_other_weights_score_anew_and_going_back_costs_nothing(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    first, before = site.current.predictor, site.scores()
    other = stand_in(lambda picture, text: (picture - 0.5) * 9 + np.arange(SIZE) / 4 + text[0])
    other.weights_sha256 = "1" * 64
    site.current.predictor = other
    wait_until(lambda: set(site.scores().values()).isdisjoint(before.values()))
    passes = first.network.passes
    site.current.predictor = first
    wait_until(lambda: site.scores() == before)
    assert first.network.passes == passes


def test_a_prompt_that_is_known_now_scores_its_picture_anew(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    wait_until(lambda: site.choosing._scoring._changed == set())
    assert next(each for each in site.choosing.ranking if each.picture == "delta").reason.startswith(ASKS)
    entry = PromptEntry(iso_time(), "infection, upper right lung", TYPED)
    site.studies.keeping.store.remember("delta", entry)
    site.choosing.asked("delta")
    wait_until(lambda: not next(each for each in site.choosing.ranking if each.picture == "delta").asks)
    before = site.scores()
    site.write_prompts({"alpha": "infection, left lung", "bravo": "infection, lower left lung"})
    wait_until(lambda: site.scores()["alpha"] != before["alpha"])
    wait_until(lambda: next(each for each in site.choosing.ranking if each.picture == "charlie").asks)
    assert site.scores()["bravo"] == before["bravo"] and site.scores()["delta"] == before["delta"]


def test_a_picture_that_cannot_be_opened_keeps_no_other_from_its_score(site: Site) -> None:
    (site.folder / "alpha.png").write_bytes(b"not a picture")
    site.begin()
    wait_until(lambda: sum(score is not None for score in site.scores().values()) == 3)
    shutil.copy(site.folder / "bravo.png", site.folder / "alpha.png")
    shutil.copy(site.folder / "bravo.png", site.folder / "echo.png")
    site.studies.refresh()
    wait_until(site.all_scored)
    assert set(site.scores()) == {*NAMES, "echo"}


def test_a_model_that_fails_on_one_picture_scores_the_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    rule, failed = site.current.network.rule, []

    def fails_once(picture: np.ndarray, text: tuple[float, ...]) -> np.ndarray:
        if not failed:
            failed.append(True)
            raise RuntimeError("out of memory")
        return rule(picture, text)

    site.current.network.rule = fails_once
    site.begin()
    wait_until(lambda: sum(score is not None for score in site.scores().values()) == 3)
    assert "not scored" in caplog.text


def test_cold_nothing_is_known_then_pictures_are_unlike_each_other_then_they_have_scores(site: Site) -> None:
    assert {each.reason for each in site.choosing.ranking} == {UNKNOWN}
    assert site.click()["reason"] == UNKNOWN
    site.current.predictor.probabilities = lambda *given: (_ for _ in ()).throw(RuntimeError("no scores yet"))
    site.begin()
    wait_until(lambda: [each.reason for each in site.choosing.ranking][:3] == [UNSCORED] * 3)
    assert site.click()["reason"] in (UNSCORED, f"{ASKS} {UNSCORED}")


def test_it_ends_within_a_step(site: Site) -> None:
    site.begin()
    site.choosing.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "scoring" and thread.is_alive()]


def test_switched_off_nothing_is_computed_and_the_choice_says_so(site: Site) -> None:
    off = NextPictures(site.studies, {"scoring": "off"})
    off.begin(site.current, site.queue)
    time.sleep(0.2)
    assert site.current.network.passes == 0
    assert {each.reason for each in off.ranking} == {OFF}
    assert off.with_words(off.strategies["random"]({}, site.studies))["reason"] == OFF


def test_a_click_starts_no_process_and_computes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.begin()
    wait_until(site.all_scored)
    site.choosing.close()
    begun, watching, passes = [], True, site.current.network.passes
    sys.addaudithook(lambda event, given: begun.append(event) if event in STARTS and watching else None)
    for name in ("choosing.order.spread", "server.scoring.disagreement", "server.scoring.look_of"):
        monkeypatch.setattr(f"textseg.{name}", None)
    threads = threading.active_count()
    for _ in range(3):
        assert site.click()["score"] is not None
        site.click(strategy="uniform")
    assert (site.current.network.passes, threading.active_count(), begun) == (passes, threads, [])
    subprocess.run([sys.executable, "-c", ""], check=True)
    watching = False
    assert begun  # a process would have been seen


def test_a_sample_comes_with_its_words(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    samples = [site.click() for _ in NAMES]
    told = {each["id"]: (each["prompt"], each["prompt_source"], each["asks_for_prompt"]) for each in samples}
    assert told["alpha"] == ("infection, lower left lung", "csv", False)
    assert told["delta"] == ("", "none", True)
    assert "write what to segment" in next(each for each in samples if each["id"] == "delta")["message"]
    info = site.studies.get_image_info("alpha")
    assert (info["prompt"], info["prompt_source"]) == ("infection, lower left lung", "csv")


def test_a_prompt_that_cannot_be_read_is_told_and_asked_for(site: Site) -> None:
    site.write_prompts({"alpha": "fracture of the femur"})
    sample = next(each for each in (site.click() for _ in NAMES) if each["id"] == "alpha")
    assert sample["asks_for_prompt"] and sample["prompt"] == ""
    assert "prompts.csv cannot be used" in sample["message"] and "write what to segment" in sample["message"]


def test_two_clients_in_turn_two_hundred_times_never_hold_the_same(site: Site) -> None:
    has = {}
    for number in range(400):
        who = ("anna", "bert")[number % 2]
        has[who] = site.click(who, ("random", "uniform")[number % 3 == 0])["id"]
        assert len(set(has.values())) == len(has)


def test_clients_are_told_apart_by_their_id(site: Site) -> None:
    site.click("anna")
    held = {site.choosing.leases.holder(name) for name in NAMES}
    assert held == {"", Client("anna", "").key}


def test_none_left(site: Site) -> None:
    for name in NAMES:
        (site.folder / f"{name}.png").unlink()
    site.studies.refresh()
    assert site.click() == site.click(strategy="uniform") == {}


def test_the_ranking_of_an_archive_without_a_folder_is_chance() -> None:
    archive = SimpleNamespace(get_unlabeled_images=lambda: ["1.2.3", "1.2.4"])
    choosing = NextPictures(archive, {})
    choosing.begin(Current(), InferQueue())
    assert {each.reason for each in choosing.ranking} == {ARCHIVE}
    given = choosing.with_words(choosing.strategies["random"]({}, archive))
    assert given["id"] in ("1.2.3", "1.2.4") and given["message"] == ""
