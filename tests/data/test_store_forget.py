"""What is deleted lies in the trash whole; what is forgotten is nowhere any more; no other picture notices either."""

import json
from pathlib import Path

import numpy as np
import pytest
from keeping import entry, files_of, label_bytes, nrrd, opened, put_by_hand, save

from textseg.data.store.clients import Client, Clients
from textseg.data.store.forget import OLD_INDEX, forget
from textseg.data.store.labels import MACHINE, LabelledSegment
from textseg.data.store.store import Store
from textseg.errors import DataError, PictureNotFound, StoreError

WORDS = "Zanzibar left lung"
ME, OTHER = Client("slicer", "10.0.0.7"), Client("slicer", "10.0.0.8")
NEIGHBOURS = ["p2", "p 1", "p.x", "P", "other"]


def fill(studies: Path, name: str, words: str, client: Client) -> None:
    """All that can be kept of a picture, with `words` wherever words are kept."""
    store, clients = Store(studies), Clients(studies)
    (studies / f"{name}.png").write_bytes(b"picture")
    store.note(name, pixels_sha256=f"pixels of {name}", info={"comment": words})
    store.remember(name, entry(words, segment=words, canonical=words, finding={"unread": [words]}), np.ones((1, 2, 2)))
    segment = LabelledSegment((1,), (words,), "run", words)
    for tag in ("final", "original"):
        for _ in range(2):
            save(store, name, nrrd(b"\1"), tag, segments=(segment,), prompt=words, info={"label_info": [words]})
        store.discard_label(name, tag)
        save(store, name, nrrd(b"\2"), tag, segments=(segment,), dropped=(words,))
    clients.carried_over(client, name, words, "")
    clients.give(client, name)
    clients.keep_session_prompt(client, entry(words), f"pixels of {name}")
    delivered = store.layout.root / "delivered" / f"{name}.png" / "abc" / "p_abc.png"
    delivered.parent.mkdir(parents=True)
    delivered.symlink_to(studies / f"{name}.png")
    store.layout.scores.mkdir(exist_ok=True)
    (store.layout.scores / f"{name}.json").write_text(json.dumps({"schema": 1, "scores": [words]}))


def old_index(studies: Path, **objects: str) -> None:
    """The index of a stock MONAI Label server that worked on this folder before."""
    entries = {
        name: {"image": {}, "labels": {"final": {"info": {"label_info": [words]}}}} for name, words in objects.items()
    }
    (studies / OLD_INDEX).write_text(json.dumps({"name": "x", "objects": entries}))


def everywhere(studies: Path, words: str) -> list[str]:
    """All files and folders that have the words in their name or content, in the store's working folders as well."""
    needles = (words.encode(), json.dumps(words).strip('"').encode())
    return [
        str(path.relative_to(studies))
        for path in studies.rglob("*")
        if words in path.name or (path.is_file() and any(needle in path.read_bytes() for needle in needles))
    ]


# Discard


def test_a_deleted_label_lies_in_the_trash_with_all_its_versions(studies: Path, store: Store) -> None:
    for data in (nrrd(b"\1"), nrrd(b"\2")):
        save(store, "p", data, prompt=WORDS)
    save(store, "p", nrrd(b"\3"), "original", by=MACHINE)
    store.remember("p", entry(WORDS))
    before = files_of(studies)
    store.discard_label("p", "final")
    store.shown.scan({"p"})
    assert (store.label_versions("p", "final"), store.shown.tags("p")) == ([], ["original"])
    assert label_bytes(store, "p", "original") == [nrrd(b"\3")]
    assert store.history("p").last.prompt == WORDS
    assert sorted(files_of(studies).values()) == sorted(before.values())
    assert not (studies / "labels" / "final" / "p.nrrd").exists()


@pytest.mark.parametrize("name", ["p.nrrd", "p.NRRD", "p.Nrrd"])
def test_a_deleted_label_from_before_the_store_does_not_come_back(studies: Path, store: Store, name: str) -> None:
    path = put_by_hand(studies, name, nrrd(b"\1"))
    store.shown.scan({"p"})
    store.discard_label("p", "final")
    for each in (store, Store(studies)):
        each.shown.scan({"p"})
        assert each.shown.tags("p") == []
    assert not path.exists()
    kept = [file.read_bytes() for file in store.layout.trash.rglob("*.nrrd")]
    assert set(kept) == {nrrd(b"\1")}


def test_a_deleted_picture_lies_in_the_trash_with_all_that_was_kept_of_it(studies: Path, store: Store) -> None:
    fill(studies, "p", WORDS, ME)
    store.shown.scan({"p"})
    before = files_of(studies)
    store.discard_picture("p", studies / "p.png", why="picture")
    assert set(files_of(studies).values()) == set(before.values())
    assert not (studies / "p.png").exists()
    assert store.history("p").entries == ()
    assert store.known("p") == {}


def test_files_of_one_name_do_not_push_each_other_out_of_the_trash(studies: Path, store: Store) -> None:
    (studies / "p.nrrd").write_bytes(b"the picture")
    labels = {tag: nrrd(tag.encode()) for tag in ("final", "original")}
    for tag, data in labels.items():
        put_by_hand(studies, "p.nrrd", data, tag)
    store.shown.scan({"p"})
    store.discard_picture("p", studies / "p.nrrd", why="picture")
    kept = {path.read_bytes() for path in store.layout.trash.rglob("*.nrrd")}
    assert kept == {*labels.values(), b"the picture"}


def test_what_is_deleted_twice_lies_in_the_trash_twice(studies: Path, store: Store) -> None:
    for data in (nrrd(b"\1"), nrrd(b"\2")):
        save(store, "p", data)
        store.discard_label("p", "final")
    kept = {path.read_bytes() for path in store.layout.trash.rglob("*.nrrd")}
    assert kept == {nrrd(b"\1"), nrrd(b"\2")}


def test_what_is_not_there_is_deleted_without_a_trace(studies: Path, store: Store) -> None:
    store.discard_label("p", "final")
    store.discard_picture("p", studies / "p.png", why="picture")
    assert not store.layout.trash.exists()


def test_a_link_is_deleted_and_not_what_it_leads_to(studies: Path, store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"mine")
    (studies / "p.png").symlink_to(outside)
    store.discard_picture("p", studies / "p.png", why="picture")
    assert outside.read_bytes() == b"mine"
    assert not (studies / "p.png").is_symlink()


# Forget


def test_nothing_remains_of_a_forgotten_picture_but_itself(studies: Path, store: Store) -> None:
    old_index(studies, p=WORDS, other="kept")
    fill(studies, "p", WORDS, ME)
    assert len(everywhere(studies, WORDS)) > 8
    erased = forget(studies, "p")
    assert everywhere(studies, WORDS) == []
    assert everywhere(studies, "pixels of p") == []
    assert [path for path in studies.rglob("*") if path.name.split(".")[0] == "p"] == [studies / "p.png"]
    assert (studies / "p.png").read_bytes() == b"picture"
    assert {path.name for path in erased} >= {"p", "p.nrrd", "p.png", OLD_INDEX}
    assert list(json.loads((studies / OLD_INDEX).read_text())["objects"]) == ["other"]


def test_other_pictures_do_not_notice(studies: Path, store: Store) -> None:
    for number, name in enumerate(NEIGHBOURS):
        fill(studies, name, f"Madagascar {name}", Client("slicer", f"10.0.1.{number}"))
    before = files_of(studies)
    fill(studies, "p", WORDS, ME)
    forget(studies, "p")
    (studies / "p.png").unlink()
    assert files_of(studies) == before


def test_the_clients_of_other_pictures_are_remembered(studies: Path, store: Store) -> None:
    clients = Clients(studies)
    fill(studies, "p", WORDS, ME)
    clients.give(OTHER, "q")
    clients.keep_session_prompt(OTHER, entry("right lung"), "pixels of q")
    forget(studies, "p")
    assert not clients.carried_over(ME, "p", "", "")
    assert clients.take_session_prompt(ME, "pixels of p") is None
    assert clients.carried_over(OTHER, "q", "", "")
    assert clients.take_session_prompt(OTHER, "pixels of q").prompt == "right lung"


def test_a_running_server_does_not_bring_a_forgotten_label_back(studies: Path, store: Store) -> None:
    fill(studies, "p", WORDS, ME)
    store.shown.scan({"p"})
    forget(studies, "p")
    store.shown.scan({"p"})
    assert store.shown.tags("p") == []
    assert everywhere(studies, WORDS) == []
    assert save(store, "p", nrrd(b"\1")).number == 1


@pytest.mark.parametrize("name", ["p.nrrd", "p.NRRD", "p.Nrrd"])
def test_a_label_from_before_the_store_is_forgotten_too(studies: Path, store: Store, name: str) -> None:
    path = put_by_hand(studies, name, nrrd(b"\1"))
    store.shown.scan({"p"})
    assert store.shown.tags("p") == ["final"]
    assert forget(studies, "p")
    assert not path.exists() and not any((studies / "labels" / "final").iterdir())


def test_what_a_killed_process_left_unfinished_is_forgotten_too(studies: Path, store: Store) -> None:
    fill(studies, "p", WORDS, ME)
    (store.layout.unfinished / "tmpabc").write_text(json.dumps({"schema": 1, "prompt": WORDS}))
    forget(studies, "p")
    assert everywhere(studies, WORDS) == []


def test_a_deleted_picture_is_forgotten_too(studies: Path, store: Store) -> None:
    fill(studies, "p", WORDS, ME)
    store.discard_picture("p", studies / "p.png", why="picture")
    assert everywhere(studies, WORDS)
    forget(studies, "p")
    assert everywhere(studies, WORDS) == []


def test_a_picture_of_which_nothing_is_kept_needs_no_erasure(studies: Path, store: Store) -> None:
    (studies / "p.nii.gz").write_bytes(b"picture")
    (studies / "series").mkdir()
    assert forget(studies, "p") == []
    assert forget(studies, "series") == []
    assert (studies / "p.nii.gz").exists()


@pytest.mark.parametrize("name", ["nobody", "", "..", "../studies", "p/../p", ".textseg", "p.pn"])
def test_what_is_no_picture_is_refused_in_words(studies: Path, store: Store, name: str) -> None:
    fill(studies, "p", WORDS, ME)
    before = files_of(studies)
    with pytest.raises(PictureNotFound, match="name"):
        forget(studies, name)
    assert files_of(studies) == before


def test_a_folder_that_is_not_there_is_named(studies: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        forget(studies / "nowhere", "p")
    assert not (studies / "nowhere").exists()


def test_a_store_of_a_newer_version_is_not_erased(studies: Path, store: Store) -> None:
    fill(studies, "p", WORDS, ME)
    store.layout.about.write_text('{"schema": 2}')
    before = files_of(studies)
    with pytest.raises(StoreError, match="newer textseg"):
        forget(studies, "p")
    assert files_of(studies) == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"objects": []}', '{"objects": {"q": {}}}', '{"objects": 5}'])
def test_a_strange_index_of_a_stock_server_stops_no_erasure(studies: Path, store: Store, content: str) -> None:
    fill(studies, "p", WORDS, ME)
    (studies / OLD_INDEX).write_text(content)
    forget(studies, "p")
    assert everywhere(studies, WORDS) == []
    assert (studies / OLD_INDEX).read_text() == content


def test_a_forgotten_picture_starts_anew(studies: Path, store: Store) -> None:
    fill(studies, "p", WORDS, ME)
    forget(studies, "p")
    store.remember("p", entry("right lung"))
    save(store, "p", nrrd(b"\5"))
    again = opened(studies, "p")
    assert [each.prompt for each in again.history("p").entries] == ["right lung"]
    assert label_bytes(again, "p") == [nrrd(b"\5")]
