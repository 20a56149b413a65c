"""The predictor in use follows what is published and rolled back to, and outlives what cannot be loaded."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from learnt import DAMAGE, MANIFEST, SPEC, State, leave_one_tensor, report, weights_of

from textseg.engine.predictor import Predictor
from textseg.errors import WeightsMissing
from textseg.learning.current import CurrentPredictor
from textseg.learning.versions import Versions


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that were loaded, in order."""
    done, load = [], Predictor.load

    def counted(spec, weights=None, device="cpu", pretrained=None) -> Predictor:
        done.append(weights.parent.name if weights else "v0000")
        return load(spec, weights, device, pretrained)

    monkeypatch.setattr(Predictor, "load", counted)
    return done


@pytest.fixture
def current(versions: Versions, loads: list[str]) -> CurrentPredictor:
    """A model in use, at v0003."""
    return CurrentPredictor(versions)


def test_the_predictor_is_the_same_until_another_version_serves(
    folder: Path, current: CurrentPredictor, loads: list[str], state: State
) -> None:
    first = current.get()
    assert (first.version, first.threshold) == ("v0003", 0.3) and current.get() is first
    Versions(folder, SPEC).publish(state, MANIFEST, report("Better."))
    second = current.get()
    assert (second.version, second.threshold) == ("v0004", 0.4) and current.get() is second
    assert (first.version, first.threshold) == ("v0003", 0.3), "a request that runs goes on with what it began with"
    for back in ("v0003", "v0002", "v0001", "v0000"):
        Versions(folder, SPEC).rollback()
        assert current.get().version == back
    assert loads == ["v0003", "v0004", "v0003", "v0002", "v0001", "v0000"]


def test_the_same_version_chosen_again_is_not_loaded_again(
    versions: Versions, current: CurrentPredictor, loads: list[str]
) -> None:
    first = current.get()
    versions.rollback("v0003")
    assert current.get() is first and loads == ["v0003"]


def test_many_requests_at_once_load_once_and_none_waits_for_it(
    versions: Versions, current: CurrentPredictor, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loading, goes_on = Predictor.load, threading.Event(), threading.Event()

    def slow(*arguments) -> Predictor:
        loading.set()
        assert goes_on.wait(60)
        return load(*arguments)

    monkeypatch.setattr(Predictor, "load", slow)
    versions.rollback("v0001")
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(current.get)
        assert loading.wait(60)
        meanwhile = [future.result(60).version for future in [pool.submit(current.get) for _ in range(20)]]
        goes_on.set()
        assert first.result(60).version == "v0001"
    assert meanwhile == ["v0003"] * 20 and loads == ["v0003", "v0001"]
    assert current.get().version == "v0001"


def test_a_change_while_a_version_is_loaded_is_seen_by_the_next_request(
    versions: Versions, current: CurrentPredictor, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm_up = Predictor.warm_up

    def changed_meanwhile(predictor: Predictor) -> None:
        warm_up(predictor)
        monkeypatch.setattr(Predictor, "warm_up", warm_up)
        versions.rollback("v0002")

    monkeypatch.setattr(Predictor, "warm_up", changed_meanwhile)
    versions.rollback("v0001")
    assert [current.get().version, current.get().version] == ["v0001", "v0002"]


def test_what_cannot_be_loaded_is_passed_over_with_a_sentence_told_once(
    folder: Path, versions: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    leave_one_tensor(weights_of(folder, "v0003"))
    DAMAGE["cut off"][0](weights_of(folder, "v0002"))
    with caplog.at_level(logging.WARNING):
        current = CurrentPredictor(versions)
        assert [current.get().version for _ in range(3)] == ["v0001"] * 3
    told = [record.getMessage() for record in caplog.records]
    assert [sentence[:5] for sentence in told] == ["v0003", "v0002", "v0001"]
    assert "does not fit the network" in told[0] and "its manifest describes" in told[1]


def test_a_damaged_new_version_leaves_the_one_in_use_without_loading_it_again(
    folder: Path, versions: Versions, current: CurrentPredictor, loads: list[str], state: State
) -> None:
    first = current.get()
    versions.publish(state, MANIFEST, report("Better."))
    DAMAGE["NaN"][0](weights_of(folder, "v0004"))
    assert current.get() is first and loads == ["v0003"]


def test_when_nothing_can_be_loaded_the_one_in_use_goes_on_and_it_is_not_tried_at_every_request(
    versions: Versions, current: CurrentPredictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, tried = current.get(), []

    def out_of_memory(*arguments) -> Predictor:
        tried.append(arguments)
        raise MemoryError

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(Predictor, "load", out_of_memory)
        versions.rollback("v0001")
        assert all(current.get() is first for _ in range(3)) and len(tried) == 2  # v0001 and the base
    assert "v0003 goes on until it can be loaded" in caplog.text and current.served.version == "v0003"
    assert "MemoryError" in current.served.told[0] and current.served.told[1] == "v0003 goes on until it can be loaded."
    versions.rollback("v0002")
    assert current.get().version == "v0002" and current.served.told == ()


@pytest.mark.parametrize(
    "fault", [MemoryError(), RuntimeError("CUDA error"), OSError(5, "Input/output error")], ids=repr
)
def test_what_a_passing_fault_kept_from_being_loaded_is_tried_again_but_not_at_every_request(
    versions: Versions, loads: list[str], state: State, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    now = [100.0]
    current = CurrentPredictor(versions, clock=lambda: now[0])
    first = current.get()
    versions.publish(state, MANIFEST, report("Better."))

    def faulty(*arguments) -> Predictor:
        loads.append("failed")
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "load", faulty)
        for seconds in (100.0, 115.0, 129.9, 130.0, 145.0, 159.9):
            now[0] = seconds
            assert current.get() is first
    assert loads == ["v0003", "failed", "failed"] and current.served.version == "v0003"
    assert "v0004" in current.served.told[0] and current.served.told[1] == "v0003 serves in its place."
    now[0] = 160.0
    assert current.get().version == current.served.version == "v0004" and current.served.told == ()
    now[0] = 1000.0
    assert current.get().version == "v0004" and loads == ["v0003", "failed", "failed", "v0004"]


def test_weights_that_do_not_fit_are_not_tried_again(
    folder: Path, versions: Versions, loads: list[str], state: State
) -> None:
    now = [100.0]
    current = CurrentPredictor(versions, clock=lambda: now[0])
    versions.publish(state, MANIFEST, report("Better."))
    leave_one_tensor(weights_of(folder, "v0004"))
    for seconds in (100.0, 200.0, 300.0):
        now[0] = seconds
        assert current.get().version == "v0003"
    assert loads == ["v0003", "v0004"]


def test_a_disk_that_does_not_answer_changes_nothing(
    versions: Versions, current: CurrentPredictor, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError

    monkeypatch.setattr(versions, "stat", fail)
    assert current.get().version == "v0003" and loads == ["v0003"]


def test_the_base_is_v0000_whatever_its_manifest_calls_it(folder: Path) -> None:
    base = weights_of(folder, "v0002")
    assert CurrentPredictor(Versions(folder.parent / "none", SPEC, base)).get().version == "v0000"


def test_without_anything_to_serve_there_is_no_predictor(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"no weights file .*gone\.safetensors"):
        CurrentPredictor(Versions(tmp_path, SPEC, tmp_path / "gone.safetensors"))


def test_asking_costs_next_to_nothing(current: CurrentPredictor) -> None:
    begun = time.process_time()
    for _ in range(1000):
        current.get()
    assert time.process_time() - begun < 1
