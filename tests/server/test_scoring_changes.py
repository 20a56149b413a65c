"""Scores follow what changes: other pictures, labels that come and go, a table that is written in a long round."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from scored_site import NAMES, Site, wait_until
from textseg.data.store.clients import Client
from textseg.errors import PictureError
from textseg.server import scoring

LABEL = "labels/final/alpha.png"


def label(site: Site) -> Path:
    """alpha gets a final label, put there by hand."""
    path = site.folder / LABEL
    Image.new("L", (40, 40)).save(path)
    site.studies.refresh()
    return path


def test_a_picture_that_was_replaced_is_scored_anew(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    before = site.scores()
    shutil.copy(site.folder / "bravo.png", site.folder / "alpha.png")
    os.utime(site.folder / "alpha.png", ns=(1, 1))
    site.studies.refresh()
    wait_until(lambda: site.scores()["alpha"] == before["bravo"])
    assert site.scores() == {**before, "alpha": before["bravo"]}


def test_a_picture_that_lost_its_label_gets_a_score(site: Site) -> None:
    label(site)
    site.begin()
    wait_until(lambda: site.all_scored() and len(site.scores()) == 3)
    site.studies.remove_label("alpha", "final")
    wait_until(lambda: site.scores().get("alpha") is not None)


def test_a_picture_that_is_labelled_is_offered_no_more_and_costs_no_score(site: Site) -> None:
    site.begin()
    wait_until(site.all_scored)
    passes = site.current.network.passes
    label(site)
    assert set(site.scores()) == set(NAMES[1:])
    time.sleep(0.3)
    assert site.current.network.passes == passes


def test_in_a_long_round_a_new_table_of_prompts_counts_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LOOK_AGAIN_SECONDS", 0.0)
    score, asked, written = scoring.Scoring._score, [], threading.Event()

    def slow(self: scoring.Scoring, picture: str, predictor: object) -> None:
        asked.append(picture)
        if len(asked) == 2:
            site.write_prompts({"delta": "infection, upper right lung"})
            written.set()
        score(self, picture, predictor)

    monkeypatch.setattr(scoring.Scoring, "_score", slow)
    site.begin()
    assert written.wait(60)
    wait_until(lambda: not site.ranked("delta").asks and site.all_scored())
    assert asked[2] == asked[0]  # begun anew, before the others had their turn
    assert site.ranked("alpha").asks


def test_a_picture_that_cannot_be_read_is_not_offered_until_it_is_there(site: Site) -> None:
    whole = (site.folder / "alpha.png").read_bytes()
    (site.folder / "alpha.png").write_bytes(b"damaged")
    site.begin()
    wait_until(lambda: set(site.scores()) == set(NAMES[1:]))
    (site.folder / "alpha.png").unlink()
    (site.folder / "alpha.png").write_bytes(whole)
    site.studies.refresh()
    wait_until(lambda: site.scores().get("alpha") is not None)


def test_a_picture_that_is_found_damaged_at_a_click_is_free_and_not_offered_again(site: Site) -> None:
    given = [site.click() for _ in NAMES]
    name = given[0]["id"]
    site.studies.give(Client("anna", ""), name, {})
    (site.folder / f"{name}.png").write_bytes(b"damaged")
    with pytest.raises(PictureError):
        site.click()  # all were offered: the oldest again
    assert not site.choosing.leases.holder(name)
    assert name not in {site.click()["id"] for _ in range(5)}


def test_only_a_final_label_frees_a_picture_for_others(site: Site) -> None:
    given = site.click()["id"]
    site.choosing.submitted(given)  # a label `original`: it is still to be labelled
    assert site.choosing.leases.holder(given)
    Image.new("L", (40, 40)).save(site.folder / "labels" / "final" / f"{given}.png")
    site.studies.refresh()
    site.choosing.submitted(given)
    assert not site.choosing.leases.holder(given)
