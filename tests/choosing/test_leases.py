"""Two people never have one picture; whoever has seen all gets an own one again, and is told so."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from textseg.choosing.leases import OTHERS, OWN_AGAIN, SECONDS, Leases

PICTURES = [f"picture {letter}" for letter in "abcde"]


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    return Leases(clock=clock)


def test_asking_again_gives_another_until_all_were_offered_then_the_own_oldest(leases: Leases, clock: Clock) -> None:
    for picture in PICTURES:
        given = leases.give("anna", PICTURES)
        assert (given.picture, given.before, given.told) == (picture, None, "")
        clock.now += 60
    for picture in PICTURES * 2:
        given = leases.give("anna", PICTURES)
        assert (given.picture, given.told) == (picture, OWN_AGAIN)
        assert given.before == 300
        clock.now += 60


def test_without_an_own_one_the_oldest_of_others(leases: Leases, clock: Clock) -> None:
    for _ in PICTURES:
        leases.give("anna", PICTURES)
    given = leases.give("bert", PICTURES)
    assert (given.picture, given.told) == (PICTURES[0], OTHERS)
    assert leases.holder(PICTURES[0]) == "bert"
    assert leases.give("bert", PICTURES).picture == PICTURES[0]


def test_a_clock_that_stands_still_changes_nothing(leases: Leases) -> None:
    found = [leases.give("anna", PICTURES).picture for _ in range(10)]
    assert found == PICTURES * 2


@pytest.mark.parametrize("passed", [SECONDS, SECONDS + 1, -5.0])
def test_it_expires(leases: Leases, clock: Clock, passed: float) -> None:
    leases.give("anna", PICTURES)
    clock.now += passed
    assert leases.holder(PICTURES[0]) == ""
    assert leases.give("bert", PICTURES).picture == PICTURES[0]


def test_it_holds_until_then(leases: Leases, clock: Clock) -> None:
    leases.give("anna", PICTURES)
    clock.now += SECONDS - 1
    assert leases.give("bert", PICTURES).picture == PICTURES[1]


def test_submitting_frees_it(leases: Leases) -> None:
    leases.give("anna", PICTURES)
    leases.free(PICTURES[0])
    leases.free("never given")
    assert leases.give("bert", PICTURES).picture == PICTURES[0]  # its label was removed again


def test_none_of_none(leases: Leases) -> None:
    assert leases.give("anna", []) is None


def test_whoever_has_a_picture_still_has_it_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "leases.json"
    Leases(path, tmp_path, clock=clock).give("anna", PICTURES)
    later = Leases(path, tmp_path, clock=clock)
    assert later.holder(PICTURES[0]) == "anna"
    assert later.give("bert", PICTURES).picture == PICTURES[1]


@pytest.mark.parametrize(
    "damaged", [b"{", b'{"schema": 1, "held": {"a": 3}}', b'{"schema": 1, "held": []}', b'{"schema": 9}']
)
def test_a_damaged_file_binds_nobody(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "leases.json"
    path.write_bytes(damaged)
    assert Leases(path, tmp_path).give("anna", PICTURES).picture == PICTURES[0]


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    held = Leases(tmp_path / "file" / "leases.json", tmp_path / "file")
    assert [held.give(who, PICTURES).picture for who in ("anna", "bert")] == PICTURES[:2]


def test_two_who_ask_in_turn_two_hundred_times_never_hold_the_same(leases: Leases, clock: Clock) -> None:
    pictures, last = [f"picture {number}" for number in range(7)], {}
    for number in range(400):
        who = ("anna", "bert")[number % 2]
        last[who] = leases.give(who, pictures).picture
        assert leases.holder(last[who]) == who
        assert len(set(last.values())) == len(last)
        clock.now += 11


class LeasesAsPeopleUseThem(RuleBasedStateMachine):
    """Any number of people who ask, submit and wait."""

    people = Bundle("people")

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.leases, self.left = Leases(clock=self.clock), list(PICTURES)
        self.has: dict[str, dict[str, float]] = {}

    @rule(target=people, name=st.sampled_from(["anna", "bert", "carl"]))
    def comes(self, name: str) -> str:
        self.has.setdefault(name, {})
        return name

    @rule(who=people)
    def asks(self, who: str) -> None:
        given = self.leases.give(who, self.left)
        if not self.left:
            assert given is None
            return
        held = {picture: name for name, mine in self.has.items() for picture in mine}
        free = [picture for picture in self.left if picture not in held]
        own = [picture for picture in self.left if held.get(picture) == who]
        if free:
            assert given.picture == free[0] and given.told == ""
        elif own:
            assert given.picture in own and given.told == OWN_AGAIN
            assert self.has[who][given.picture] == min(self.has[who][picture] for picture in own)
        else:
            assert given.told == OTHERS
        for mine in self.has.values():
            mine.pop(given.picture, None)
        self.has[who][given.picture] = self.clock.now

    @rule(who=people, data=st.data())
    def submits(self, who: str, data: st.DataObject) -> None:
        if mine := [picture for picture in self.has[who] if picture in self.left]:
            picture = data.draw(st.sampled_from(mine))
            self.left.remove(picture)
            self.leases.free(picture)
            self.has[who].pop(picture)

    @rule(seconds=st.sampled_from([1.0, 600.0, SECONDS]))
    def waits(self, seconds: float) -> None:
        self.clock.now += seconds
        for mine in self.has.values():
            for picture in [picture for picture, since in mine.items() if self.clock.now - since >= SECONDS]:
                del mine[picture]

    @invariant()
    def everyone_has_what_they_were_given(self) -> None:
        for who, mine in getattr(self, "has", {}).items():
            assert all(self.leases.holder(picture) == who for picture in mine)


TestLeasesAsPeopleUseThem = LeasesAsPeopleUseThem.TestCase
TestLeasesAsPeopleUseThem.settings = settings(max_examples=40, deadline=None)
