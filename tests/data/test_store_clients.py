"""Clients: the text that Slicer carries over by itself is told from one that a person typed for the picture."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import entry, files_of

from textseg.data.store.clients import Client, Clients
from textseg.data.store.store import Store
from textseg.errors import StoreError

ME = Client("slicer", "10.0.0.7")
LEFT, RIGHT = "infection in the left lung", "infection in the right lung"


@pytest.fixture
def clients(studies: Path, store: Store) -> Clients:
    """The clients of a new store."""
    return Clients(studies)


def run(clients: Clients, image_id: str, prompt: object = "", preset: object = "", client: Client = ME) -> bool:
    """A run as a server asks for it: was the text carried over?"""
    return clients.carried_over(client, image_id, prompt, preset)


def test_the_text_of_the_picture_before_is_carried_over_once(clients: Clients) -> None:
    assert not run(clients, "a", LEFT)
    clients.give(ME, "b")
    assert run(clients, "b", LEFT)  # Slicer, by itself
    assert not run(clients, "b", LEFT)  # a person who presses Run
    assert not run(clients, "b", LEFT)


def test_another_text_is_a_persons(clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    assert not run(clients, "b", RIGHT)
    assert not run(clients, "b", LEFT)


def test_a_preset_is_carried_over_like_a_prompt_and_told_from_it(clients: Clients) -> None:
    run(clients, "a", "", LEFT)
    clients.give(ME, "b")
    assert run(clients, "b", "", LEFT)
    clients.give(ME, "c")
    assert not run(clients, "c", LEFT, "")
    clients.give(ME, "d")
    assert not run(clients, "d", LEFT, LEFT)


@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u2003"])
def test_no_text_after_next_sample_is_nobodys_choice(clients: Clients, blank: str) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    assert run(clients, "b", blank, blank)
    assert not run(clients, "b", blank, blank)


def test_the_first_text_of_all_is_a_persons(clients: Clients) -> None:
    clients.give(ME, "a")
    assert not run(clients, "a", LEFT)


def test_without_next_sample_nothing_is_carried_over(clients: Clients) -> None:
    run(clients, "a", LEFT)
    assert not run(clients, "b", LEFT)
    assert not run(clients, "a", LEFT)


def test_a_run_on_another_picture_meanwhile_changes_nothing_for_the_given_one(clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    assert not run(clients, "other", LEFT)
    assert run(clients, "b", LEFT)


def test_the_text_of_the_run_before_counts_wherever_it_ran(clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    run(clients, "other", RIGHT)
    assert not run(clients, "b", LEFT)


def test_only_the_last_picture_given_counts(clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    clients.give(ME, "c")
    assert not run(clients, "b", LEFT)
    assert run(clients, "c", LEFT)


def test_the_same_picture_can_be_given_again(clients: Clients) -> None:
    run(clients, "a", LEFT)
    for _ in range(2):
        clients.give(ME, "a")
        assert run(clients, "a", LEFT)
        assert not run(clients, "a", LEFT)


def test_it_goes_on_after_a_restart(studies: Path, clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    assert run(Clients(studies), "b", LEFT)
    assert not run(Clients(studies), "b", LEFT)


@pytest.mark.parametrize(
    "other",
    [Client("slicer", "10.0.0.8"), Client("ohif", "10.0.0.7"), Client(), Client("slicer\n10.0.0.7", "")],
    ids=repr,
)
def test_another_client_is_another(clients: Clients, other: Client) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    assert not run(clients, "b", LEFT, client=other)
    assert not run(clients, "b", "", client=other)
    clients.give(other, "c")
    assert run(clients, "b", LEFT)


def test_the_text_itself_is_not_kept(studies: Path, clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    run(clients, "b", LEFT)
    assert not any(b"left" in content for name, content in files_of(studies).items() if "clients" in name)


@given(st.text(st.characters(codec=None), min_size=1).filter(str.strip))
@settings(max_examples=30)
def test_any_text_is_known_again(lasting: Clients, text: str) -> None:
    run(lasting, "a", text)
    lasting.give(Client(text, text), "b")
    lasting.give(ME, "b")
    assert run(lasting, "b", text)
    assert not run(lasting, "b", text)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """Clients for many texts."""
    return Clients(tmp_path_factory.mktemp("lasting"))


def test_a_damaged_file_counts_as_none(studies: Path, clients: Clients, store: Store) -> None:
    run(clients, "a", LEFT)
    (path,) = store.layout.clients.glob("*.json")
    for damage in (b"", b"{", b"[]", b"\xff", b'{"schema": "x"}'):
        path.write_bytes(damage)
        clients.give(ME, "b")
        assert not run(clients, "b", LEFT)
        assert clients.take_session_prompt(ME, "pixels") is None


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(studies: Path, clients: Clients, store: Store) -> None:
    clients.keep_session_prompt(ME, entry(LEFT), "pixels")
    (path,) = store.layout.clients.glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 2'))
    before = files_of(studies)
    uses = [
        lambda: clients.give(ME, "b"),
        lambda: run(clients, "b", LEFT),
        lambda: clients.keep_session_prompt(ME, entry(RIGHT), "pixels"),
        lambda: clients.take_session_prompt(ME, "pixels"),
        lambda: clients.forget("b", "pixels"),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="newer textseg"):
            use()
        assert files_of(studies) == before


# Sessions


def test_the_prompt_of_a_session_is_given_once_and_whole(studies: Path, clients: Clients) -> None:
    asked = entry("left\n🫁", finding={"left": ["lower"]}, segment="infection L", model="m", client="slicer")
    clients.keep_session_prompt(ME, asked, "pixels")
    assert Clients(studies).take_session_prompt(ME, "pixels") == asked
    assert clients.take_session_prompt(ME, "pixels") is None


def test_the_prompt_of_a_session_waits_for_its_own_pixels(clients: Clients) -> None:
    clients.keep_session_prompt(ME, entry(LEFT), "pixels")
    assert clients.take_session_prompt(ME, "other pixels") is None
    assert clients.take_session_prompt(ME, "") is None
    assert clients.take_session_prompt(ME, "pixels").prompt == LEFT


def test_the_prompt_of_a_session_is_nobody_elses(clients: Clients) -> None:
    clients.keep_session_prompt(ME, entry(LEFT), "pixels")
    assert clients.take_session_prompt(Client("slicer", "10.0.0.8"), "pixels") is None
    assert clients.take_session_prompt(ME, "pixels").prompt == LEFT


def test_the_last_prompt_of_a_session_counts(clients: Clients) -> None:
    for prompt in (LEFT, RIGHT):
        clients.keep_session_prompt(ME, entry(prompt), "pixels")
    assert clients.take_session_prompt(ME, "pixels").prompt == RIGHT


def test_sessions_and_samples_do_not_disturb_each_other(clients: Clients) -> None:
    run(clients, "a", LEFT)
    clients.give(ME, "b")
    clients.keep_session_prompt(ME, entry(RIGHT), "pixels")
    assert run(clients, "b", LEFT)
    clients.give(ME, "c")
    assert clients.take_session_prompt(ME, "pixels").prompt == RIGHT
    assert run(clients, "c", LEFT)
