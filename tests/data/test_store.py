"""The store: prompts and label versions come back as they went in, whatever happened to the files meanwhile."""

import json
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keeping import entry, files_of, label_bytes, nrrd, opened, put_by_hand, save, shown_files

from textseg.data.picture_ids import check_picture_id
from textseg.data.store.durable import STALE_SECONDS
from textseg.data.store.history import CSV, NONE, PRESET, PromptEntry
from textseg.data.store.labels import MACHINE, LabelledSegment
from textseg.data.store.store import Store
from textseg.errors import LabelProtected, PictureNotFound, StoreError
from textseg.text.prompt import read_prompt

FINDING = read_prompt("infection in the left lower lung").finding
FULL = PromptEntry(
    "2025-01-02T03:04:05.678+00:00",
    "  Infektion? left\tlower\nlung\u2028 🫁 ",
    PRESET,
    "picture",
    "picture",
    FINDING.to_json(),
    "Unilateral pulmonary infection.",
    "infection L lower (patient side)",
    "c2fvl-compact",
    "1.0",
    "me@home",
    "10.0.0.7",
    "user",
    "0123abcd",
)
SEGMENT = LabelledSegment((1, 3), ("a", "b"), "run", "left lung", "picture", FINDING.to_json(), "Unilateral.", "m", "2")
OTHER_NAMES = [
    "a b",
    "Größe",
    unicodedata.normalize("NFD", "Größe"),
    "x*?[1]",
    "it's",
    '"quoted"',
    "$(touch x)",
    "%s%n",
    "{0}",
    "a.b.c",
    "scan.nii",
    "p.json",
    "p.nrrd",
    "ends.",
    "ends ",
    "-rf",
    "~",
    "COM1",
    "#1",
    "肺",
    "😀",
    "labels",
    "final",
    "prompts.jsonl",
    "x" * 240,
    "é" * 120,
]
NO_NAMES = [
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "/a",
    "../a",
    "a\\b",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "\ud83d",
    "x" * 241,
    None,
    5,
]


# Prompts


def test_the_history_comes_back_as_it_was_told(store: Store, studies: Path) -> None:
    entries = [FULL, entry("", NONE), replace(FULL, prompt="right lung", source=CSV, finding=None)]
    for each in entries:
        store.remember("p", each)
    history = Store(studies).history("p")
    assert list(history.entries) == entries
    assert (history.remembered, history.last) == (FULL, entries[2])
    assert history.named(FULL.segment) == entries[2]
    assert history.named("of nobody") is None


def test_a_picture_without_prompts_has_an_empty_history(store: Store, studies: Path) -> None:
    history = store.history("p")
    assert (history.entries, history.remembered, history.last) == ((), None, None)
    assert files_of(studies) == {}


def test_prompts_of_one_picture_are_not_those_of_another(store: Store) -> None:
    store.remember("p", entry("left lung"))
    store.remember("p2", entry("right lung"))
    assert [store.history(name).last.prompt for name in ("p", "p2")] == ["left lung", "right lung"]


def test_the_last_mask_made_under_a_name_is_kept_with_the_prompt(store: Store, studies: Path) -> None:
    masks = [np.arange(30).reshape(2, 3, 5) % divisor == 0 for divisor in (2, 3)]
    for mask in masks:
        store.remember("p", entry("left lung", segment="infection L"), mask)
    assert np.array_equal(Store(studies).made("p", "infection L"), masks[1])
    assert store.made("p", "infection R") is None


def test_a_last_line_cut_at_any_byte_is_not_read_and_the_next_prompt_heals_it(store: Store) -> None:
    for prompt in ("first", "second ü 😀"):
        store.remember("p", entry(prompt))
    path = store.layout.prompts("p")
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1
    for cut in range(begin, len(whole)):
        path.write_bytes(whole[:cut])
        assert [each.prompt for each in store.history("p").entries] == ["first"]
        store.remember("p", entry("third"))
        assert [each.prompt for each in store.history("p").entries] == ["first", "third"]
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_cut_line_longer_than_a_page_is_healed(store: Store) -> None:
    store.remember("p", entry("first"))
    path = store.layout.prompts("p")
    path.write_bytes(path.read_bytes() + b'{"schema": 1, "prompt": "' + b"x" * 20_000)
    store.remember("p", entry("y" * 9_000))
    assert [len(each.prompt) for each in store.history("p").entries] == [5, 9_000]


def test_a_cut_first_line_is_healed(store: Store) -> None:
    path = store.layout.prompts("p")
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"schema": 1, "ti')
    assert store.history("p").entries == ()
    store.remember("p", entry("first"))
    assert [each.prompt for each in store.history("p").entries] == ["first"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"5",
        b'{"schema": 1}',
        b'{"schema": "one"}',
        b'{"prompt": "no schema"}',
        b"\0" * 300,
        b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:12]),
)
def test_a_damaged_line_is_left_out_and_costs_no_other(store: Store, line: bytes) -> None:
    for prompt in ("first", "second"):
        store.remember("p", entry(prompt))
    path = store.layout.prompts("p")
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, line, second, b""]))
    store.remember("p", entry("third"))
    assert [each.prompt for each in store.history("p").entries] == ["first", "second", "third"]
    assert line in path.read_bytes()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for many prompts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield Store(tmp_path_factory.mktemp("lasting"))


@given(st.text(st.characters(codec=None), max_size=200))
@example("one\ntwo\r\nthree\rfour\x0bfive\x85six\u2028seven\u2029eight")
@example("\0\x1b\ufeff\u202e e\u0301 é")
@example("👩‍⚕️🫁🏳️‍🌈")
@example("\ud83d alone, and \udc00\ud800 the wrong way round, and \ud83d\ude00 as two")
@example('"\\u0041\\", {"schema": 2}')
@settings(max_examples=100)
def test_any_prompt_comes_back_to_the_letter(lasting: Store, prompt: str) -> None:
    lasting.remember("p", entry(prompt))
    assert lasting.history("p").last.prompt == prompt
    save(lasting, "p", nrrd(b"\1"), segments=(replace(SEGMENT, prompt=prompt),), prompt=prompt, info={prompt: prompt})
    current = lasting.current_label("p", "final")
    assert (current.prompt, current.segments[0].prompt, current.info) == (prompt, prompt, {prompt: prompt})


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_pictures_of_any_name_are_kept_and_shown(studies: Path, store: Store, name: str) -> None:
    check_picture_id(name)
    store.remember("neighbour", entry("right lung"))
    before = files_of(studies)
    store.remember(name, entry("left lung"), np.ones((1, 2, 2)))
    store.note(name, info={"a": 1})
    for tag, values in (("final", b"\1"), ("original", b"\2")):
        save(store, name, nrrd(values), tag)
    again = opened(studies, name, "neighbour")
    assert [each.prompt for each in again.history(name).entries] == ["left lung"]
    assert again.known(name) == {"schema": 1, "info": {"a": 1}}
    assert again.shown.tags(name) == ["final", "original"]
    assert again.shown.path(name, "final").read_bytes() == nrrd(b"\1")
    again.discard_label(name, "final")
    again.shown.scan({name, "neighbour"})
    assert again.shown.tags(name) == ["original"]
    again.forget(name)
    assert again.history(name).entries == ()
    assert files_of(studies) == before


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_picture_is_refused_in_words(name: object) -> None:
    with pytest.raises(PictureNotFound, match="not a path"):
        check_picture_id(name)


# A store of a newer version


def use_picture(store: Store) -> list[Callable[[], object]]:
    """All that reads or changes a picture's own file."""
    return [lambda: store.known("p"), lambda: store.note("p", info={})]


def use_prompts(store: Store) -> list[Callable[[], object]]:
    """All that reads or changes a picture's history."""
    return [lambda: store.history("p"), lambda: store.remember("p", entry("new"), np.ones((1, 1, 1)))]


def use_labels(store: Store) -> list[Callable[[], object]]:
    """All that reads or changes a picture's label."""
    return [
        lambda: store.current_label("p", "final"),
        lambda: store.label_versions("p", "final"),
        lambda: save(store, "p", nrrd(b"\7")),
        lambda: store.annotate_label("p", "final", {"new": 1}),
    ]


def use_all(store: Store) -> list[Callable[[], object]]:
    """All that reads or changes anything."""
    removals = [
        lambda: store.discard_label("p", "final"),
        lambda: store.discard_picture("p", why="picture"),
        lambda: store.forget("p"),
        lambda: store.take_in(Path(__file__), store.layout.studies / "new.png"),
    ]
    return [*use_picture(store), *use_prompts(store), *use_labels(store), *removals]


@pytest.mark.parametrize(
    ("place", "uses"),
    [
        ("store.json", use_all),
        ("pictures/p/picture.json", use_picture),
        ("pictures/p/prompts.jsonl", use_prompts),
        ("pictures/p/labels/final/000001.json", use_labels),
    ],
)
def test_what_a_newer_version_wrote_is_refused_and_left_as_it_is(
    studies: Path, store: Store, place: str, uses: Callable[[Store], list[Callable[[], object]]]
) -> None:
    store.note("p", pixels_sha256="0")
    store.remember("p", entry("old"))
    save(store, "p", nrrd(b"\1"))
    path = store.layout.root / place
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 2'))
    before = files_of(studies)
    for number, use in enumerate(uses(Store(studies))):
        with pytest.raises(StoreError, match=r"newer textseg.*Update textseg here"):
            use()
            pytest.fail(f"use {number} was not refused")
        assert files_of(studies) == before, f"use {number} changed something"


def test_one_label_of_a_newer_version_hides_no_other_pictures_label(studies: Path, store: Store) -> None:
    others = [f"other{number}" for number in range(12)]
    for name in ("p", *others):
        save(store, name, nrrd(b"\1"))
    path = store.layout.labels("p", "final") / "000001.json"
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 2'))
    again = Store(studies)
    with suppress(StoreError):
        again.shown.scan({"p", *others})
    assert [name for name in others if again.shown.tags(name)] == others


# Versions of labels


def test_versions_are_counted_from_one_and_all_stay(studies: Path, store: Store) -> None:
    files = [nrrd(bytes([value])) for value in range(1, 13)]
    saved = [save(store, "p", data, segments=(SEGMENT,), info={"k": [1, {"l": None}]}) for data in files]
    assert [version.number for version in saved] == list(range(1, 13))
    again = Store(studies)
    assert again.label_versions("p", "final") == saved
    assert again.current_label("p", "final") == saved[-1]
    assert label_bytes(again, "p") == files


def test_the_tags_are_counted_apart(store: Store) -> None:
    numbers = [save(store, "p", nrrd(b"\1"), tag).number for tag in ("final", "original", "final")]
    assert numbers == [1, 1, 2]


def test_no_label_has_no_version(store: Store) -> None:
    assert store.current_label("p", "final") is None
    assert store.label_versions("p", "final") == []
    assert store.annotate_label("p", "final", {"a": 1}) is None


def test_a_file_that_was_never_acknowledged_is_no_version_and_is_not_overwritten(store: Store) -> None:
    save(store, "p", nrrd(b"\1"))
    orphan = store.layout.labels("p", "final") / "000002.nrrd"
    orphan.write_bytes(b"cut off")
    assert store.current_label("p", "final").number == 1
    assert save(store, "p", nrrd(b"\3")).number == 3
    assert [version.number for version in store.label_versions("p", "final")] == [1, 3]
    assert orphan.read_bytes() == b"cut off"


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b'{"schema": 1}', b"\xff", b"\0" * 90])
def test_a_damaged_version_is_left_out_and_costs_no_other(store: Store, damage: bytes) -> None:
    for value in (b"\1", b"\2", b"\3"):
        save(store, "p", nrrd(value))
    (store.layout.labels("p", "final") / "000003.json").write_bytes(damage)
    (store.layout.labels("p", "final") / "000002.nrrd").unlink()
    assert store.current_label("p", "final").number == 1
    assert save(store, "p", nrrd(b"\4")).number == 5
    taken_in = nrrd(b"\3")  # labels/final still showed it
    assert label_bytes(store, "p") == [nrrd(b"\1"), taken_in, nrrd(b"\4")]


def test_a_strangers_file_among_the_versions_stops_no_save(store: Store) -> None:
    save(store, "p", nrrd(b"\1"))
    for name in ("000001 (copy).nrrd", "2 notes.txt", ".DS_Store", "Thumbs.db"):
        (store.layout.labels("p", "final") / name).write_bytes(b"?")
    assert save(store, "p", nrrd(b"\2")).number == 2
    assert label_bytes(store, "p") == [nrrd(b"\1"), nrrd(b"\2")]


def test_what_is_added_to_a_label_makes_a_new_version_with_the_same_file(studies: Path, store: Store) -> None:
    first = save(store, "p", nrrd(b"\1"), segments=(SEGMENT,), prompt="left", user="me", info={"a": 1, "b": 1})
    second = store.annotate_label("p", "final", {"b": 2, "c": 3})
    assert (second.number, second.info) == (2, {"a": 1, "b": 2, "c": 3})
    assert replace(second, number=1, file=first.file, time=first.time, info=first.info) == first
    assert label_bytes(store, "p") == [nrrd(b"\1")] * 2
    assert opened(studies, "p").current_label("p", "final") == second
    assert shown_files(studies, "p") == {"p.nrrd": nrrd(b"\1")}


def test_a_machine_does_not_replace_a_persons_final_label(studies: Path, store: Store) -> None:
    save(store, "p", nrrd(b"\1"), by=MACHINE)
    save(store, "p", nrrd(b"\2"), by=MACHINE)
    save(store, "p", nrrd(b"\3"))
    before = files_of(studies)
    with pytest.raises(LabelProtected, match=r"by a person.*tag original"):
        save(store, "p", nrrd(b"\4"), by=MACHINE)
    assert files_of(studies) == before
    store.annotate_label("p", "final", {"reviewed": True})
    with pytest.raises(LabelProtected):
        save(Store(studies), "p", nrrd(b"\4"), by=MACHINE)
    assert save(store, "p", nrrd(b"\5")).number == 5


def test_a_machines_mask_is_taken_under_the_tag_original(store: Store) -> None:
    save(store, "p", nrrd(b"\1"))
    for number in (1, 2):
        assert save(store, "p", nrrd(b"\2"), "original", by=MACHINE).number == number


def test_a_machine_does_not_replace_what_a_person_keeps_as_original(store: Store) -> None:
    save(store, "p", nrrd(b"\1"), "original")
    with pytest.raises(LabelProtected, match=r"original label of .* is by a person.*Delete that label first"):
        save(store, "p", nrrd(b"\2"), "original", by=MACHINE)
    assert len(store.label_versions("p", "original")) == 1


def test_a_machines_mask_is_taken_once_the_persons_label_is_deleted(store: Store) -> None:
    save(store, "p", nrrd(b"\1"))
    store.discard_label("p", "final")
    assert save(store, "p", nrrd(b"\2"), by=MACHINE).number == 1


def test_a_label_from_before_the_store_is_a_persons(studies: Path) -> None:
    data = nrrd(b"\7", ".mha")
    path = put_by_hand(studies, "p.mha", data)
    store = opened(studies, "p")
    assert store.shown.path("p", "final") == path
    with pytest.raises(LabelProtected):
        save(store, "p", nrrd(b"\1"), by=MACHINE)
    assert path.read_bytes() == data
    save(store, "p", nrrd(b"\2"))
    assert label_bytes(store, "p") == [data, nrrd(b"\2")]
    assert shown_files(studies, "p") == {"p.nrrd": nrrd(b"\2")}


def test_a_picture_is_taken_in_whole(tmp_path: Path, store: Store, studies: Path) -> None:
    sent = tmp_path / "sent.png"
    sent.write_bytes(bytes(range(256)) * 10_000)
    store.take_in(sent, studies / "new.png")
    assert (studies / "new.png").read_bytes() == sent.read_bytes()


def test_what_a_dead_process_left_unfinished_is_cleared_away_when_it_is_old(
    studies: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, "p", nrrd(b"\1"))
    draft = store.layout.unfinished / "tmpabc"
    draft.write_bytes(b"half of a label")
    Store(studies)
    assert draft.exists()  # it may be of a process that is writing now
    now = draft.stat().st_mtime
    monkeypatch.setattr("textseg.data.store.durable.time.time", lambda: now + STALE_SECONDS + 1)
    Store(studies)
    assert not draft.exists()
