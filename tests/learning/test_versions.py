"""Versions of a model: what is published serves, what is damaged never does, and one can always go back."""

import json
import logging
import re
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from learnt import DAMAGE, MANIFEST, SPEC, State, files_of, pointer_of, report, weights_of, whole

from textseg.engine import ready
from textseg.engine.ready import read_manifest
from textseg.engine.weights import load_stored, save_weights
from textseg.errors import StoreError, VersionError, WeightsMissing
from textseg.learning.versions import Versions
from textseg.registry import MODELS

OTHER_MODEL = MODELS["c2fvl"]  # has no shipped weights
THERE_ARE = r"There are: v0000, v0001, v0002, v0003\."


def test_before_anything_is_published_the_base_serves_and_no_folder_is_made(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "none", SPEC)
    served = whole(versions)
    assert (served.version, served.weights) == ("v0000", None)
    assert served.manifest == read_manifest(SPEC.weights_path)
    assert (versions.stat(), versions.stored(), versions.verdicts()) == (None, [], [])
    assert list(tmp_path.iterdir()) == []


def test_what_was_published_last_serves_as_it_was_given(folder: Path, versions: Versions, state: State) -> None:
    served = whole(versions)
    assert (served.version, served.weights) == ("v0003", weights_of(folder, "v0003"))
    assert served.manifest.items() >= {**MANIFEST, "threshold": 0.3, "version": "v0003"}.items()
    assert served.manifest["base"] == read_manifest(SPEC.weights_path)["sha256"]
    loaded = load_stored(SPEC, served.weights)[0].state_dict()
    assert all(torch.equal(loaded[key], value.half().to(value.dtype)) for key, value in state.items())
    assert json.loads((folder / "v0003" / "gate.json").read_text()) == report("Better than v0002.")
    assert sorted(path.name for path in (folder / "v0003").iterdir()) == [
        f"{SPEC.name}.json",
        f"{SPEC.name}.safetensors",
        "gate.json",
    ]


def test_another_process_sees_the_change_by_the_pointers_state(folder: Path, versions: Versions) -> None:
    other = Versions(folder, SPEC)
    before = other.stat()
    assert other.stat() == before and whole(other).version == "v0003"
    versions.rollback()
    assert other.stat() != before and whole(other).version == "v0002"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_version_is_not_served_but_the_one_before_it(folder: Path, versions: Versions, damage: str) -> None:
    whole(versions)
    harm, said = DAMAGE[damage]
    harm(weights_of(folder, "v0003"))
    for known in (versions, Versions(folder, SPEC)):
        served = known.served()
        assert (served.version, served.weights) == ("v0002", weights_of(folder, "v0002"))
        assert re.match(rf"v0003 of {SPEC.name} cannot be served\. .*{said}", served.told[0])
        assert served.told[1:] == ("v0002 serves in its place.",)


def test_when_all_are_damaged_the_base_serves(folder: Path, versions: Versions) -> None:
    for version, damage in (("v0001", "cut off"), ("v0002", "NaN"), ("v0003", "no folder")):
        DAMAGE[damage][0](weights_of(folder, version))
    served = versions.served()
    assert (served.version, served.weights) == ("v0000", None)
    assert [sentence[:5] for sentence in served.told] == ["v0003", "v0002", "v0001", "v0000"]


def test_where_nothing_can_serve_it_is_said_what_is_missing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="textseg train c2fvl"):
        Versions(tmp_path / "none", OTHER_MODEL).served()
    versions = Versions(folder, SPEC, base=tmp_path / "gone.safetensors")
    assert whole(versions).version == "v0003"
    for version in ("v0001", "v0002", "v0003"):
        DAMAGE["empty"][0](weights_of(folder, version))
    with pytest.raises(WeightsMissing, match=r"v0003 .* v0002 .* v0001 .*gone\.safetensors"):
        versions.served()


def test_a_file_is_hashed_once_and_again_when_it_changes(
    folder: Path, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    monkeypatch.setattr(
        ready, "sha256_of", lambda path, original=ready.sha256_of: hashed.append(path) or original(path)
    )
    for _ in range(5):
        whole(versions)
    assert hashed == [weights_of(folder, "v0003")]
    DAMAGE["a changed byte"][0](weights_of(folder, "v0003"))
    assert versions.served().version == "v0002" and len(hashed) == 3


def test_a_version_that_could_not_be_loaded_is_passed_over_with_its_reason(versions: Versions) -> None:
    served = versions.served({"v0003": "It was trained with other words."})
    assert served.version == "v0002"
    assert served.told[0] == f"v0003 of {SPEC.name} cannot be served. It was trained with other words."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"schema": 1, "vers',
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema": 1}',
        b'{"schema": 1, "version": "../../v0001", "why": "", "time": "", "withdrawn": []}',
        b'{"schema": 1, "version": 1, "why": "", "time": "", "withdrawn": []}',
        b'{"schema": 1, "version": "v0001", "why": "", "time": "", "withdrawn": 1}',
        b'{"schema": 9, "version": "v0001"}',
    ],
)
def test_a_damaged_pointer_leads_to_the_newest_whole_version(folder: Path, content: bytes) -> None:
    (folder / "served.json").write_bytes(content)
    DAMAGE["NaN"][0](weights_of(folder, "v0003"))
    served = Versions(folder, SPEC).served()
    assert served.version == "v0002" and "served.json" in served.told[0]
    assert Versions(folder, SPEC).rollback("v0001") == "v0001"
    assert whole(Versions(folder, SPEC)).version == "v0001"


def test_without_a_pointer_the_base_serves(folder: Path, versions: Versions) -> None:
    (folder / "served.json").unlink()
    assert whole(versions).version == "v0000"
    assert versions.rollback("v0002") == "v0002"


@pytest.mark.parametrize("spoilt", ["nan", "too large for half precision", "other network"])
def test_weights_that_cannot_be_served_are_not_published(
    folder: Path, versions: Versions, state: State, spoilt: str
) -> None:
    name = next(name for name, value in state.items() if value.is_floating_point())
    changed = {
        "nan": {**state, name: torch.full_like(state[name], torch.nan)},
        "too large for half precision": {**state, name: torch.full_like(state[name], 1e5)},
        "other network": {name: state[name]},
    }[spoilt]
    before = files_of(folder)
    with pytest.raises(VersionError, match=r"are not published\. .*(NaN or infinity|does not fit)"):
        versions.publish(changed, MANIFEST, report("Better."))
    assert files_of(folder) == before


def test_settings_of_another_model_are_not_published(folder: Path, versions: Versions, state: State) -> None:
    with pytest.raises(VersionError, match="width 8, here 16"):
        versions.publish(state, {**MANIFEST, "settings": {**SPEC.settings, "width": 8}}, report("Better."))
    assert whole(versions).version == "v0003"


def test_a_number_is_never_given_twice(folder: Path, versions: Versions, state: State) -> None:
    assert versions.reject(report("Worse.")) == "v0004"
    versions.rollback("v0001")
    assert versions.keep(0) == ["v0002", "v0003"]
    assert versions.publish(state, MANIFEST, report("Better.")) == "v0005"
    shutil.rmtree(folder / "v0005")
    (folder / "v0007").write_text("no folder")
    assert versions.reject(report("Worse.")) == "v0008"


def test_history_is_kept_of_all_candidates_the_newest_last(folder: Path, versions: Versions) -> None:
    versions.reject(report("Worse by 0.02.", dice={"new": 0.7}))
    versions.rollback("v0001")
    versions.keep(0)
    told = [(each.version, each.accepted, each.sentence) for each in Versions(folder, SPEC).verdicts()]
    better = [(f"v000{number}", True, f"Better than v000{number - 1}.") for number in (1, 2, 3)]
    assert told == [*better, ("v0004", False, "Worse by 0.02.")]
    assert versions.verdicts()[-1].report == report("Worse by 0.02.", dice={"new": 0.7})
    times = [each.time for each in versions.verdicts()]
    assert times == sorted(times)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": 1}', b'{"schema": 9}', b'{"schema": 1, "report": "no"}'])
def test_a_damaged_verdict_is_left_out_and_its_number_stays_taken(
    folder: Path, versions: Versions, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    versions.reject(report("Worse."))
    (folder / "verdicts" / "000004.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert [each.version for each in versions.verdicts()] == ["v0001", "v0002", "v0003"]
    assert "v0004" in caplog.text
    assert versions.reject(report("Worse.")) == "v0005"


def test_one_goes_back_step_by_step_to_the_base(folder: Path, versions: Versions) -> None:
    assert [versions.rollback() for _ in range(3)] == ["v0002", "v0001", "v0000"]
    assert whole(versions).version == "v0000"
    with pytest.raises(VersionError, match=rf"v0000 .* nothing is before it\. {THERE_ARE}"):
        versions.rollback()
    assert versions.rollback("v0003") == "v0003"
    assert whole(versions).version == "v0003"
    assert pointer_of(folder)["why"] == "rolled back" == versions.why()[0]


def test_going_back_passes_over_what_is_damaged(folder: Path, versions: Versions) -> None:
    DAMAGE["no manifest"][0](weights_of(folder, "v0002"))
    assert versions.rollback() == "v0001"


def test_what_was_rolled_back_from_does_not_come_back_by_itself(folder: Path, versions: Versions, state: State) -> None:
    versions.rollback("v0001")
    assert versions.publish(state, MANIFEST, report("Better.")) == "v0004"
    DAMAGE["cut off"][0](weights_of(folder, "v0004"))
    assert versions.served().version == "v0001"
    assert [each.withdrawn for each in versions.stored()] == [False, True, True, False]
    versions.rollback("v0002")
    DAMAGE["cut off"][0](weights_of(folder, "v0002"))
    assert versions.served().version == "v0001"


@pytest.mark.parametrize(
    "name", ["v0004", "v3", "3", "", "v0003/../v0001", "V0001", "v00001", "v000\u0661", "x" * 9999]
)
def test_there_is_no_going_to_a_version_that_is_not_there(folder: Path, versions: Versions, name: str) -> None:
    before = files_of(folder)
    with pytest.raises(VersionError, match=THERE_ARE) as refused:
        versions.rollback(name)
    assert len(str(refused.value)) < 200
    assert files_of(folder) == before


def test_there_is_no_going_to_a_damaged_version_or_to_a_base_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    versions = Versions(folder, SPEC, base=tmp_path / "gone.safetensors")
    DAMAGE["NaN"][0](weights_of(folder, "v0001"))
    for name, said in (("v0001", "holds NaN"), ("v0000", r"no weights file .*gone\.safetensors")):
        with pytest.raises(VersionError, match=f"{name} .* cannot be served.*{said}.*{THERE_ARE}"):
            versions.rollback(name)
    assert whole(versions).version == "v0003"


def test_old_versions_go_only_when_asked_and_never_the_served_one(folder: Path, versions: Versions) -> None:
    versions.rollback("v0001")
    assert versions.keep(5) == [] == versions.keep(3)
    assert versions.keep(1) == ["v0002"]
    assert [each.version for each in versions.stored()] == ["v0001", "v0003"]
    assert whole(versions).version == "v0001"
    assert versions.keep(0) == ["v0003"]
    assert whole(versions).version == "v0001"
    with pytest.raises(VersionError, match="0 or more"):
        versions.keep(-1)


def test_what_serves_in_a_damaged_ones_place_is_not_deleted(folder: Path, versions: Versions) -> None:
    DAMAGE["NaN"][0](weights_of(folder, "v0003"))
    assert versions.keep(0) == ["v0001"]
    assert versions.served().version == "v0002"


def test_another_base_changes_nothing_of_what_was_learnt(folder: Path, tmp_path: Path, state: State) -> None:
    base = tmp_path / "other" / f"{SPEC.name}.safetensors"
    save_weights(state, base, MANIFEST)
    versions = Versions(folder, SPEC, base)
    assert whole(versions).version == "v0003" and versions.rollback() == "v0002"
    versions.rollback("v0000")
    assert whole(versions).weights == base
    versions.publish(state, MANIFEST, report("Better."))
    assert whole(versions).manifest["base"] == read_manifest(base)["sha256"]


def test_what_a_killed_process_left_is_cleared_with_the_next_publication(
    folder: Path, versions: Versions, state: State
) -> None:
    left = folder / ".unfinished" / "v0004"
    shutil.copytree(folder / "v0003", left)
    assert whole(versions).version == "v0003" and len(versions.stored()) == 3
    versions.publish(state, MANIFEST, report("Better."))
    assert not left.parent.exists()


def test_a_full_disk_leaves_the_served_version_and_no_half_one(folder: Path, versions: Versions, state: State) -> None:
    before, limits = files_of(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=f"could not keep the new version of {SPEC.name}.*Make room on its disk"):
            versions.publish(state, MANIFEST, report("Better."))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_of(folder) == before
    assert versions.publish(state, MANIFEST, report("Better.")) == "v0004"


def test_a_disk_that_fails_at_any_step_leaves_the_old_or_the_new_version(
    folder: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, step, done = "v0003", 0, None
    while done is None:
        steps = iter([None] * step)

        def fsync(handle: int, steps=steps) -> None:
            if next(steps, "full") == "full":
                raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fsync)
        versions, step = Versions(folder, SPEC), step + 1
        with suppress(StoreError):
            done = versions.publish(state, MANIFEST, report("Better."))
        now = whole(Versions(folder, SPEC)).version
        assert now >= served
        served = now
    assert step > 5 and served == done
    assert all(each.fault is None for each in versions.stored())
