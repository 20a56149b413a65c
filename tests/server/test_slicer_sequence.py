"""Slicer's whole sequence: what a person asks stays with the picture and the label it belongs to."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from harness import Server
from slicer import Slicer
from textseg.data.sample_studies import write_sample_studies
from textseg.data.store.store import Store
from textseg.registry import DEFAULT_MODEL

LEFT = "Unilateral pulmonary infection, one infected area, lower left lung"
RIGHT = "RLL consolidation"


@pytest.fixture(scope="module")
def own(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of its own on radiographs, none of them in prompts.csv."""
    drawn, studies = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("studies")
    write_sample_studies(drawn)
    for letter in ("kilo", "lima", "mike", "november", "oscar", "papa"):
        shutil.copy(drawn / "xray_echo.nii.gz", studies / f"{letter}.nii.gz")
    return start_server(studies)


@pytest.fixture
def slicer(own: Server, tmp_path: Path) -> Slicer:
    """A Slicer window that is connected."""
    window = Slicer(own, tmp_path, client_id=f"user-{tmp_path.name}")
    window.connect()
    return window


def test_the_whole_sequence(own: Server, slicer: Slicer) -> None:
    first = slicer.next_sample()["id"]
    assert slicer.reply["prompt_source"] == "none"
    slicer.type(LEFT)
    slicer.run()
    wrong = slicer.segment
    slicer.type(RIGHT)
    slicer.run()
    right = slicer.segment
    slicer.segments[right][0, :40, :40] = True
    reply = slicer.submit()
    assert reply["label"] == first and reply["version"] == 1
    (no_prompt,) = [name for name in slicer.segments if name.startswith("[no prompt]")]
    assert set(reply["dropped"]) == {no_prompt, wrong}
    assert [(segment["names"], segment["prompt"]) for segment in reply["segments"]] == [([right], RIGHT)]
    kept = sitk.GetArrayFromImage(sitk.ReadImage(slicer.client.download_label(first, "final")))
    assert np.array_equal(kept > 0, slicer.segments[right])
    slicer.connect()
    assert slicer.client.info()["datastore"]["completed"] == 1
    second = slicer.next_sample()["id"]
    assert second != first
    assert Store(own.studies).current_label(first, "final").segments[0].prompt == RIGHT


def test_the_text_that_slicer_carries_over_is_not_the_next_pictures(own: Server, slicer: Slicer) -> None:
    slicer.next_sample()
    slicer.type(LEFT)
    slicer.run()
    image = slicer.next_sample()["id"]
    assert slicer.options["prompt"] == LEFT and slicer.reply["prompt_source"] == "none"
    assert Store(own.studies).history(image).remembered is None
    slicer.run()  # the same text sent again is meant
    assert (slicer.reply["prompt_source"], slicer.reply["prompt"]) == ("typed", LEFT)
    assert Store(own.studies).history(image).remembered.prompt == LEFT


def test_a_carried_over_text_that_cannot_be_read_opens_no_dialog(slicer: Slicer) -> None:
    slicer.next_sample()
    slicer.type("fracture of the femur")
    with pytest.raises(Exception, match="422"):
        slicer.run()
    slicer.next_sample()
    assert slicer.reply["prompt_source"] == "none"
    with pytest.raises(Exception, match="422"):
        slicer.run()


def test_another_window_with_the_same_id_at_one_address_is_the_same_client_but_another_id_is_not(
    own: Server, slicer: Slicer, tmp_path: Path
) -> None:
    sample = slicer.next_sample()
    other = Slicer(own, tmp_path, client_id="somebody-else")
    other.connect()
    other.open(sample["id"], sample["path"])
    other.type(LEFT)
    other.run()
    assert other.reply["prompt_source"] == "typed"


def test_a_blank_prompt_means_what_was_remembered(slicer: Slicer) -> None:
    slicer.next_sample()
    slicer.type(RIGHT)
    slicer.run()
    slicer.type("")
    reply = slicer.run()
    assert (reply["prompt_source"], reply["prompt"]) == ("remembered", RIGHT)
    assert slicer.segment.startswith("[remembered] infection R lower")


def test_a_painted_class_label_belongs_to_the_last_prompt(slicer: Slicer) -> None:
    slicer.next_sample()
    slicer.type(LEFT)
    slicer.run()
    slicer.segments["infection"][0, 100:120, 100:120] = True
    reply = slicer.submit()
    told = [(set(segment["names"]), segment["prompt"]) for segment in reply["segments"]]
    assert ({"infection", slicer.segment}, LEFT) in told
    assert reply["dropped"] == [name for name in slicer.segments if name.startswith("[no prompt]")]


def test_a_segment_that_a_person_names_is_its_own_prompt(slicer: Slicer) -> None:
    slicer.next_sample()
    slicer.segments["LLL pneumonia"] = np.zeros_like(slicer.segments["infection"])
    slicer.segments["LLL pneumonia"][0, 200:230, 300:330] = True
    slicer.segments["what is this"] = np.zeros_like(slicer.segments["infection"])
    slicer.segments["what is this"][0, 10:20, 10:20] = True
    reply = slicer.submit()
    sources = {tuple(segment["names"]): (segment["source"], segment["prompt"]) for segment in reply["segments"]}
    assert sources[("LLL pneumonia",)] == ("segment name", "LLL pneumonia")
    assert sources[("what is this",)] == ("none", "")
    assert any("what is this" in warning for warning in reply["warnings"])


def test_a_text_of_a_session_is_not_the_next_pictures_either(slicer: Slicer, own: Server) -> None:
    session = slicer.client.create_session(str(own.studies / "kilo.nii.gz"))["session_id"]
    slicer.type(LEFT)
    slicer.client.infer(DEFAULT_MODEL, "", dict(slicer.options), session_id=session)
    slicer.next_sample()
    assert slicer.reply["prompt_source"] != "typed"
