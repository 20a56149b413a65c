"""The folder labels/ beside the pictures: it always shows the current version, and what people put there is kept."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from keeping import files_of, label_bytes, nrrd, opened, put_by_hand, save, shown_files

from textseg.data.store.durable import iso_time
from textseg.data.store.labels import MACHINE, PERSON, LabelFolder
from textseg.data.store.shown import ShownLabels
from textseg.data.store.store import Store
from textseg.errors import LabelProtected

OLD, NEW, OWN = nrrd(b"\1"), nrrd(b"\2"), nrrd(b"\3")
GARBAGE = [b"", b"garbage", OLD[:-1], b"NRRD0004\ntype: float\n", nrrd(b"")]


class Killed(BaseException):
    """Stands for the moment in which a process dies."""


def die(*_: object, **__: object) -> None:
    """Takes the place of a step that a process does not reach."""
    raise Killed


@pytest.fixture
def saved(store: Store) -> Store:
    """A store with two versions of a final label, listed once."""
    for data in (OLD, NEW):
        save(store, "p", data)
    store.shown.scan({"p"})
    return store


@pytest.fixture(params=["running", "restarted"])
def server(request: pytest.FixtureRequest, saved: Store, studies: Path) -> Store:
    """The store of a server that ran when something happened to the folder, and of one that starts afterwards."""
    return saved if request.param == "running" else Store(studies)


def test_a_saved_label_is_shown_under_the_pictures_name(studies: Path, saved: Store) -> None:
    assert shown_files(studies, "p") == {"p.nrrd": NEW}
    path = saved.shown.path("p", "final")
    assert path == studies / "labels" / "final" / "p.nrrd"
    assert saved.shown.is_known(path)
    assert (saved.shown.tags("p"), saved.shown.tags("q")) == (["final"], [])
    assert saved.shown.path("p", "original") is None


def test_a_deleted_file_is_put_back(studies: Path, server: Store) -> None:
    (studies / "labels" / "final" / "p.nrrd").unlink()
    server.shown.scan({"p"})
    assert shown_files(studies, "p") == {"p.nrrd": NEW}
    assert server.shown.tags("p") == ["final"]


def test_a_deleted_folder_of_labels_is_put_back(studies: Path, saved: Store, server: Store) -> None:
    save(saved, "p", OLD, "original", by=MACHINE)
    shutil.rmtree(studies / "labels")
    server.shown.scan({"p"})
    assert shown_files(studies, "p") == {"p.nrrd": NEW}
    assert shown_files(studies, "p", "original") == {"p.nrrd": OLD}


@pytest.mark.parametrize("name", ["p.nrrd", "p.mha", "p.NRRD"])
def test_a_label_that_a_person_puts_there_becomes_a_version(studies: Path, server: Store, name: str) -> None:
    data = nrrd(b"\3", ".mha") if name == "p.mha" else OWN
    put_by_hand(studies, name, data)
    server.shown.scan({"p"})
    assert label_bytes(server, "p") == [OLD, NEW, data]
    current = server.current_label("p", "final")
    assert (current.number, current.by, current.info) == (3, PERSON, {"name": name})
    assert shown_files(studies, "p") == {name.lower(): data}
    assert server.shown.path("p", "final").read_bytes() == data


def test_a_persons_file_is_one_version_however_often_it_is_looked_at(studies: Path, server: Store) -> None:
    put_by_hand(studies, "p.nrrd", OWN)
    for _ in range(3):
        server.shown.scan({"p"})
        opened(studies, "p")
    assert len(server.label_versions("p", "final")) == 3


def test_an_earlier_version_that_a_person_puts_back_is_current_again(studies: Path, server: Store) -> None:
    put_by_hand(studies, "p.nrrd", OLD)
    server.shown.scan({"p"})
    assert label_bytes(server, "p") == [OLD, NEW, OLD]
    assert shown_files(studies, "p") == {"p.nrrd": OLD}


def test_a_touched_file_makes_no_version(studies: Path, server: Store) -> None:
    path = studies / "labels" / "final" / "p.nrrd"
    os.utime(path)
    server.shown.scan({"p"})
    assert label_bytes(server, "p") == [OLD, NEW]
    assert server.shown.is_known(path)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda data: repr(data[:10]))
@pytest.mark.parametrize("name", ["p.nrrd", "p.nii.gz"])
def test_garbage_does_not_hide_the_label(studies: Path, server: Store, name: str, garbage: bytes) -> None:
    put_by_hand(studies, name, garbage)
    for _ in range(2):
        server.shown.scan({"p"})
        assert server.shown.path("p", "final").read_bytes() == NEW
    assert label_bytes(server, "p") == [OLD, NEW]
    save(server, "p", OWN)
    server.shown.scan({"p"})
    assert shown_files(studies, "p") == {"p.nrrd": OWN}


def test_garbage_alone_is_no_persons_label(studies: Path, store: Store) -> None:
    put_by_hand(studies, "p.nrrd", b"garbage")
    store.shown.scan({"p"})
    assert save(store, "p", NEW, by=MACHINE).number == 1
    assert shown_files(studies, "p") == {"p.nrrd": NEW}


def test_a_label_of_another_suffix_takes_the_place_of_the_one_before(studies: Path, server: Store) -> None:
    for suffix in (".nii.gz", ".mha", ".png", ".nii", ".nrrd"):
        save(server, "p", suffix.encode(), suffix=suffix)
        assert shown_files(studies, "p") == {f"p{suffix}": suffix.encode()}


def test_a_label_of_another_picture_is_left_alone(studies: Path, saved: Store) -> None:
    others = ["p2.nrrd", "p.x.nrrd", "pp.mha", "P.nrrd", "p"]
    for name in others:
        put_by_hand(studies, name, b"of another picture")
    save(saved, "p", OWN, suffix=".mha")
    saved.discard_label("p", "final")
    assert sorted(path.name for path in (studies / "labels" / "final").iterdir()) == sorted(others)


@pytest.mark.parametrize("change", ["save", "annotate", "put back", "a person's own"])
def test_nothing_is_written_through_a_link(studies: Path, server: Store, tmp_path: Path, change: str) -> None:
    outside = tmp_path / "outside.nrrd"
    outside.write_bytes(OWN if change == "a person's own" else OLD)
    before = outside.read_bytes()
    shown = studies / "labels" / "final" / "p.nrrd"
    shown.unlink()
    shown.symlink_to(tmp_path / "nowhere" if change == "put back" else outside)
    if change == "save":
        save(server, "p", nrrd(b"\4"))
    elif change == "annotate":
        server.annotate_label("p", "final", {"a": 1})
    server.shown.scan({"p"})
    assert outside.read_bytes() == before
    assert not (tmp_path / "nowhere").exists()
    assert not shown.is_symlink()
    assert shown.read_bytes() == label_bytes(server, "p")[-1]


@pytest.mark.parametrize("links", ["p.mha", "p.nii.gz"])
def test_a_link_of_another_suffix_goes_and_what_it_leads_to_stays(
    studies: Path, server: Store, tmp_path: Path, links: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (studies / "labels" / "final" / links).symlink_to(outside)
    save(server, "p", OWN)
    assert outside.read_bytes() == b"mine"
    assert shown_files(studies, "p") == {"p.nrrd": OWN}


def test_what_a_person_put_there_is_kept_when_a_save_comes_before_anyone_looked(studies: Path, server: Store) -> None:
    put_by_hand(studies, "p.nrrd", OWN)
    save(server, "p", nrrd(b"\4"))
    assert label_bytes(server, "p") == [OLD, NEW, OWN, nrrd(b"\4")]


def test_a_machine_does_not_replace_what_a_person_put_there_before_anyone_looked(studies: Path, store: Store) -> None:
    store.shown.scan({"p"})
    put_by_hand(studies, "p.nrrd", OWN)
    with pytest.raises(LabelProtected):
        save(store, "p", NEW, by=MACHINE)
    assert shown_files(studies, "p") == {"p.nrrd": OWN}


@pytest.mark.parametrize("looked", [True, False])
def test_a_label_of_another_suffix_and_an_older_day_is_kept(studies: Path, server: Store, looked: bool) -> None:
    data = nrrd(b"\3", ".mha")
    put_by_hand(studies, "p.mha", data, age=86_400)  # copied there with its time
    if looked:
        server.shown.scan({"p"})
    save(server, "p", nrrd(b"\4"))
    assert label_bytes(server, "p") == [OLD, NEW, data, nrrd(b"\4")]


@pytest.mark.parametrize("name", ["p.nrrd", "p.nii.gz"])
def test_what_a_person_put_there_and_is_no_label_is_not_thrown_away(studies: Path, server: Store, name: str) -> None:
    put_by_hand(studies, name, b"a person's work in another format")
    server.shown.scan({"p"})
    save(server, "p", OWN)
    assert b"a person's work in another format" in files_of(studies).values()


def test_a_first_label_put_there_is_kept_when_a_save_comes_before_anyone_looked(studies: Path, store: Store) -> None:
    store.shown.scan({"p"})
    put_by_hand(studies, "p.nrrd", OWN)
    save(store, "p", NEW)
    assert label_bytes(store, "p") == [OWN, NEW]


def test_a_folder_in_the_place_of_a_label_harms_nothing(studies: Path, saved: Store) -> None:
    (studies / "labels" / "final" / "p.mha").mkdir()
    (studies / "labels" / "final" / "p.mha" / "mine").write_bytes(b"mine")
    try:
        save(saved, "p", OWN)
    except Exception:
        assert shown_files_only(studies) == {"p.nrrd": NEW}
        assert label_bytes(saved, "p") == [OLD, NEW]
    else:
        assert shown_files_only(studies) == {"p.nrrd": OWN}
    assert (studies / "labels" / "final" / "p.mha" / "mine").read_bytes() == b"mine"


def shown_files_only(studies: Path) -> dict[str, bytes]:
    """The files in the folder of final labels, by name."""
    return {path.name: path.read_bytes() for path in (studies / "labels" / "final").iterdir() if path.is_file()}


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2], ids=["with a new time", "with its time"])
def test_an_earlier_version_that_somebody_copies_there_is_the_newest_one(
    studies: Path, server: Store, copy: Callable[[Path, Path], object]
) -> None:
    first = server.label_versions("p", "final")[0]
    copy(server.label_path("p", "final", first), studies / "labels" / "final" / "p.nrrd")
    for store in (server, opened(studies, "p")):
        store.shown.scan({"p"})
        assert store.shown.path("p", "final").read_bytes() == OLD
    assert label_bytes(server, "p") == [OLD, NEW, OLD]


# Saves that broke off


def test_two_saves_in_a_row_that_died_before_they_were_shown_bring_nothing_old_back(
    studies: Path, saved: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = [nrrd(b"\5"), nrrd(b"\6")]
    labels = saved.layout.labels("p", "final")
    for data in last:
        LabelFolder(labels, saved.layout.unfinished).add(data, ".nrrd", by=PERSON, time=iso_time())
    again = opened(studies, "p")
    assert again.shown.path("p", "final").read_bytes() == last[-1]
    assert label_bytes(again, "p") == [OLD, NEW, *last]


def test_a_version_that_was_not_shown_yet_is_shown(
    studies: Path, saved: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ShownLabels, "show", die)
        save(saved, "p", OWN)
    assert shown_files(studies, "p") == {"p.nrrd": NEW}
    again = opened(studies, "p")
    assert shown_files(studies, "p") == {"p.nrrd": OWN}
    assert label_bytes(again, "p") == [OLD, NEW, OWN]


def test_a_first_version_that_was_not_shown_yet_is_shown(
    studies: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ShownLabels, "show", die)
        save(store, "p", OWN)
    assert shown_files(opened(studies, "p").layout.studies, "p") == {"p.nrrd": OWN}


def test_a_save_that_died_before_the_earlier_suffix_was_gone_shows_the_new_label(
    studies: Path, saved: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = nrrd(b"\4", ".mha")
    time.sleep(0.02)  # the clock of the file system ticks
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "unlink", die)
        save(saved, "p", data, suffix=".mha")
    again = opened(studies, "p")
    assert again.shown.path("p", "final").read_bytes() == data
    assert label_bytes(again, "p") == [OLD, NEW, data]
    assert shown_files(studies, "p") == {"p.mha": data}


def test_a_save_over_a_label_from_before_the_store_that_died_does_not_bring_the_old_one_back(
    studies: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_by_hand(studies, "p.nrrd", OWN)
    store.shown.scan({"p"})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ShownLabels, "show", die)
        save(store, "p", NEW)
    again = opened(studies, "p")
    assert label_bytes(again, "p") == [OWN, NEW]
    assert shown_files(studies, "p") == {"p.nrrd": NEW}


def test_a_look_at_the_folder_changes_nothing_where_all_agrees(studies: Path, server: Store) -> None:
    before = files_of(studies)
    for _ in range(2):
        server.shown.scan({"p"})
    assert files_of(studies) == before


def test_labels_of_pictures_that_are_gone_are_not_listed_and_not_touched(studies: Path, server: Store) -> None:
    before = files_of(studies)
    server.shown.scan({"q"})
    assert server.shown.tags("p") == []
    assert files_of(studies) == before
    server.shown.scan({"p", "q"})
    assert server.shown.tags("p") == ["final"]
