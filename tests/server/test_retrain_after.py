"""`--conf retrain_after N`: counted by picture, after a pause, never beside another training, nothing forgotten."""

import threading
import time
from collections.abc import Callable

import pytest
from fastapi import HTTPException

from textseg.server.retrain_after import RetrainAfter

QUIET = 0.05


class Trainings:
    """Counts starts; refuses while `running`. labelled: by people since the last training began."""

    def __init__(self) -> None:
        self.started, self.running, self.asked = 0, False, 0
        self.labelled: set[str] = set()

    def submits(self, after: RetrainAfter, picture: str) -> None:
        """A person's final label."""
        self.labelled.add(picture)
        after.submitted(picture)

    def start(self) -> None:
        """One training begins, or is refused."""
        self.asked += 1
        if self.running:
            raise HTTPException(429, "Already Running")
        self.started += 1
        self.labelled.clear()


@pytest.fixture
def trainings() -> Trainings:
    """None so far."""
    return Trainings()


@pytest.fixture
def after(trainings):
    """After three pictures."""
    made = RetrainAfter(3, trainings.start, lambda: trainings.labelled, QUIET)
    yield made
    made.close()


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes true within two seconds."""
    end = time.monotonic() + 2
    while time.monotonic() < end and not holds():
        time.sleep(0.005)
    return holds()


def test_it_begins_once_enough_pictures_are_labelled_and_people_pause(after, trainings):
    for number in range(2):
        trainings.submits(after, f"p{number}")
    time.sleep(3 * QUIET)
    assert trainings.started == 0
    for number in range(2, 8):
        trainings.submits(after, f"p{number}")
    assert trainings.started == 0
    assert eventually(lambda: trainings.started == 1)
    time.sleep(3 * QUIET)
    assert trainings.started == 1


def test_the_same_picture_again_does_not_count_twice(after, trainings):
    for _ in range(5):
        trainings.submits(after, "p")
    time.sleep(3 * QUIET)
    assert trainings.asked == 0


def test_a_running_training_is_waited_for_and_not_stopped(after, trainings):
    trainings.running = True
    for number in range(3):
        trainings.submits(after, f"p{number}")
    assert eventually(lambda: trainings.asked >= 2) and trainings.started == 0
    trainings.running = False
    assert eventually(lambda: trainings.started == 1)


def test_what_was_labelled_before_the_server_started_counts(trainings):
    trainings.labelled = {"a", "b"}
    after = RetrainAfter(3, trainings.start, lambda: trainings.labelled, QUIET)
    trainings.submits(after, "b")
    time.sleep(3 * QUIET)
    assert trainings.asked == 0
    trainings.submits(after, "c")
    assert eventually(lambda: trainings.started == 1)


def test_what_a_training_by_the_button_learnt_from_does_not_count_again(after, trainings):
    for number in range(2):
        trainings.submits(after, f"p{number}")
    trainings.start()  # somebody clicks Train
    trainings.submits(after, "q")
    time.sleep(4 * QUIET)
    assert trainings.started == 1
    for number in range(2):
        trainings.submits(after, f"r{number}")
    assert eventually(lambda: trainings.started == 2)


def test_labels_that_nothing_is_learnt_from_do_not_count(after, trainings):
    for number in range(5):
        after.submitted(f"original{number}")
    time.sleep(4 * QUIET)
    assert trainings.asked == 0


def test_nothing_begins_after_the_end(after, trainings):
    for number in range(3):
        trainings.submits(after, f"p{number}")
    after.close()
    trainings.submits(after, "q")
    time.sleep(3 * QUIET)
    assert trainings.asked == 0


def test_labels_that_come_at_once_begin_one_training(after, trainings):
    threads = [threading.Thread(target=trainings.submits, args=(after, f"p{number}")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eventually(lambda: trainings.started == 1)
    time.sleep(3 * QUIET)
    assert trainings.started == 1
