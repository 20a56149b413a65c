"""A prompt in, a mask out, as stock Slicer does it: real server, real client, real files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client.client import MONAILabelClientException

from harness import Server, assert_same_grid, three_dimensional
from textseg.data.sample_studies import MASKS
from textseg.registry import DEFAULT_MODEL

LEFT = "Unilateral pulmonary infection, one infected area, lower left lung"
RIGHT = "Unilateral pulmonary infection, one infected area, lower right lung"
BOTH_LOWER = "xray_echo"  # drawn with infection in both lower zones


def share_on_patients_left(mask: sitk.Image) -> float:
    """Standard display: the patient's left is the picture's right half."""
    pixels = sitk.GetArrayFromImage(mask)
    assert pixels.any(), "the mask is empty"
    return float(pixels[..., pixels.shape[-1] // 2 :].sum() / pixels.sum())


@pytest.mark.parametrize("name", ["xray_alpha.png", "xray_bravo.png", "xray_delta.dcm", "xray_echo.nii.gz"])
def test_mask_of_a_radiograph_lies_on_the_picture(server: Server, tmp_path: Path, name: str) -> None:
    mask, _ = server.infer(tmp_path, name.split(".")[0])
    source = three_dimensional(sitk.ReadImage(str(server.studies / name)))
    assert_same_grid(mask, source)
    assert set(np.unique(sitk.GetArrayFromImage(mask))) == {0, 1}


def test_mask_of_a_volume_lies_on_the_volume(server: Server, tmp_path: Path) -> None:
    mask, reply = server.infer(tmp_path, "ct_foxtrot")
    assert_same_grid(mask, sitk.ReadImage(str(server.studies / "ct_foxtrot.nii.gz")))
    assert next(iter(reply["label_names"])).startswith("[from CSV, CT unseen]")
    assert any("never seen CT" in warning for warning in reply["warnings"])
    assert any("only the sides" in warning for warning in reply["warnings"])


def test_the_prompt_chooses_the_side(server: Server, tmp_path: Path) -> None:
    left, _ = server.infer(tmp_path, BOTH_LOWER, prompt=LEFT)
    right, _ = server.infer(tmp_path, BOTH_LOWER, prompt=RIGHT)
    assert share_on_patients_left(left) >= 0.8
    assert share_on_patients_left(right) <= 0.2


def test_picture_sides_are_the_other_way_round(server: Server, tmp_path: Path) -> None:
    mask, reply = server.infer(tmp_path, BOTH_LOWER, prompt=LEFT, laterality="picture")
    assert share_on_patients_left(mask) <= 0.2
    assert reply["finding"]["right"] == ["lower"]
    assert "R lower (patient side" in next(iter(reply["label_names"]))


@pytest.mark.parametrize("name", ["xray_alpha", "xray_bravo", "xray_charlie", "xray_delta", "xray_echo"])
def test_drawn_infection_is_found(server: Server, tmp_path: Path, name: str) -> None:
    mask, _ = server.infer(tmp_path, name)
    found = sitk.GetArrayFromImage(mask) > 0
    drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(server.studies / MASKS / f"{name}.nii.gz"))) > 0
    assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) >= 0.5


def test_the_reply_says_what_was_done(server: Server, tmp_path: Path) -> None:
    _, reply = server.infer(tmp_path, "xray_alpha", prompt=LEFT)
    assert reply["prompt"] == LEFT
    assert reply["prompt_source"] == "typed"
    assert reply["finding"]["left"] == ["lower"]
    assert reply["finding"]["schema"] == 1
    assert reply["canonical"] == LEFT + "."
    assert (reply["model_name"], reply["model_version"], reply["api"]) == (DEFAULT_MODEL, "v0000", 1)
    assert reply["warnings"] == []
    assert reply["request_id"]
    assert {"read", "preprocess", "network", "write", "total"} <= set(reply["latencies"])
    (name,) = reply["label_names"]
    assert name.isascii()
    assert len(name) <= 64


@pytest.mark.parametrize(
    ("image", "options", "source", "start"),
    [
        ("xray_alpha", {"prompt": LEFT, "preset": RIGHT}, "typed", "infection L lower"),
        ("xray_alpha", {"preset": RIGHT, "laterality": "picture"}, "preset", "infection R lower"),
        ("listed", {"prompt": "  \t"}, "csv", "[from CSV] infection L lower, R upper"),
        ("unlisted", {}, "none", "[no prompt] infection anywhere"),
        ("mirrored", {"laterality": "patient"}, "csv", "[from CSV] infection R lower"),
    ],
)
def test_which_text_counts(
    server: Server, tmp_path: Path, more_studies: None, image: str, options: dict[str, Any], source: str, start: str
) -> None:
    _, reply = server.infer(tmp_path, image, **options)
    assert reply["prompt_source"] == source
    assert next(iter(reply["label_names"])).startswith(start)


@pytest.fixture(scope="module")
def more_studies(server: Server) -> None:
    """Pictures without a row in prompts.csv, with one, and with one that speaks of picture sides."""
    for name in ("unlisted.png", "listed.png", "mirrored.png"):
        (server.studies / name).write_bytes((server.studies / "xray_alpha.png").read_bytes())
    table = server.studies / "prompts.csv"
    head, *rows = table.read_text().splitlines()
    (alpha,) = [row for row in rows if row.startswith("xray_alpha")]
    rows.append(alpha.replace("xray_alpha", "listed"))
    rows = [f"{row},patient" for row in rows] + [f'mirrored.png,"{LEFT}",xray,picture']
    table.write_text("\n".join([f"{head},laterality", *rows]) + "\n")


def test_options_echoed_as_lists_and_nulls_arrive_resolved(server: Server, tmp_path: Path, more_studies: None) -> None:
    config = server.client(tmp_path).info()["models"][DEFAULT_MODEL]["config"]
    assert next(iter(config)) == "prompt"
    assert config["preset"][0] == ""
    _, echoed = server.infer(tmp_path, "listed", **config)
    _, empty = server.infer(tmp_path, "listed", **dict.fromkeys(config))
    assert echoed["prompt_source"] == empty["prompt_source"] == "csv"


def test_threshold_makes_the_mask_smaller(server: Server, tmp_path: Path) -> None:
    sizes = [
        sitk.GetArrayFromImage(server.infer(tmp_path, "xray_alpha", threshold=threshold)[0]).sum()
        for threshold in (0.05, 0.95)
    ]
    assert sizes[0] > sizes[1]


def test_a_denial_gives_an_empty_mask(server: Server, tmp_path: Path) -> None:
    mask, reply = server.infer(tmp_path, "xray_alpha", prompt="No pulmonary infection")
    assert not sitk.GetArrayFromImage(mask).any()
    assert list(reply["label_names"]) == ["no infection"]
    assert reply["finding"]["absent"] is True


def test_quotes_commas_and_cjk_come_back_unharmed(server: Server, tmp_path: Path) -> None:
    prompt = "Unilateral pulmonary infection, lower left lung. 肺炎 'it\"s'"
    _, reply = server.infer(tmp_path, "xray_alpha", prompt=prompt)
    assert reply["prompt"] == prompt
    assert "肺炎" in reply["finding"]["unread"]
    words = '何 "か", it\'s'
    with pytest.raises(MONAILabelClientException) as refused:
        server.infer(tmp_path, "xray_alpha", prompt=words)
    detail = json.loads(refused.value.msg.partition("Response: ")[2])["detail"]
    assert f'"{words}"' in detail


def test_a_session_picture_is_segmented(server: Server, tmp_path: Path) -> None:
    client = server.client(tmp_path)
    session = client.create_session(str(server.studies / "xray_alpha.png"))["session_id"]
    file, reply = client.infer(DEFAULT_MODEL, "whatever", {"prompt": LEFT}, session_id=session)
    assert share_on_patients_left(sitk.ReadImage(file)) >= 0.8
    assert reply["prompt_source"] == "typed"


def test_the_mask_can_be_stored_as_a_label(server: Server, tmp_path: Path) -> None:
    server.infer(tmp_path, "xray_charlie", save_label=True, result_extension=".nii.gz")
    stored = sitk.ReadImage(str(server.studies / "labels" / "original" / "xray_charlie.nii.gz"))
    assert_same_grid(stored, three_dimensional(sitk.ReadImage(str(server.studies / "xray_charlie.png"))))


def test_nothing_outside_this_machine_was_asked_for(server: Server, tmp_path: Path) -> None:
    server.infer(tmp_path, "xray_alpha", prompt=LEFT)
    assert not server.blocked.exists(), server.blocked.read_text()
