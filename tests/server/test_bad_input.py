"""What bad input gets: a 4xx whose sentence names the fault and the remedy. The server lives on."""

import json
from pathlib import Path

import pytest
import requests

from harness import Server, assert_refused
from textseg.registry import DEFAULT_MODEL

GOOD = "xray_alpha"


@pytest.fixture(scope="module")
def bad(server: Server) -> Server:
    """The server with pictures in its studies that cannot be used."""
    folder = server.studies
    whole = (folder / "xray_alpha.png").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 3])
    (folder / "words.png").write_text("this is not a picture")
    (folder / "broken.dcm").write_bytes((folder / "xray_delta.dcm").read_bytes()[:700])
    (folder / "sheet.tiff").write_bytes(b"II*\0")
    (folder / "twin.png").write_bytes(whole)
    (folder / "twin.nii.gz").write_bytes((folder / "xray_echo.nii.gz").read_bytes())
    return server


@pytest.mark.parametrize(
    ("image", "said", "remedy"),
    [
        ("empty", "empty.png is empty", "Copy or export it again"),
        ("cut", "cut.png cannot be read", "damaged"),
        ("words", "words.png cannot be read", "damaged"),
        ("broken", "broken.dcm holds no pixels", "copy it again"),
        ("sheet", "sheet.tiff is of a kind that is not supported", "Supported: .png"),
        ("twin", "twin.nii.gz and twin.png have one name", "Rename one"),
        ("nobody", 'no picture "nobody"', "Refresh the list"),
        ("../xray_alpha", '"../xray_alpha" is no picture', "not a path"),
        ("/etc/passwd", '"/etc/passwd" is no picture', "not a path"),
        ("..", '".." is no picture', "not a path"),
        ("a\x00b", "is no picture", "not a path"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused_in_words(bad: Server, image: str, said: str, remedy: str) -> None:
    assert_refused(bad, image, {}, said, remedy)


@pytest.mark.parametrize(
    ("params", "said", "remedy"),
    [
        ({"prompt": "left " * 200_000}, "1000000 characters", "Shorten"),
        ({"prompt": "lower left\x07 lung"}, "control characters", "plain text"),
        ({"prompt": 7}, "must be text", "For example"),
        ({"prompt": {"left": "lung"}}, "must be text", "For example"),
        ({"prompt": "a nice day"}, '"a nice day"', "Write it like this"),
        ({"prompt": "Fraktur der linken Rippe"}, "another language", "English is understood"),
        ({"prompt": "fracture of the left clavicle"}, "do not know fracture, clavicle", "they segment infection"),
        ({"prompt": "no infection in the left base"}, "denies something in a part", "Write where the infection is"),
        ({"preset": 3}, "must be text", "For example"),
        ({"laterality": "upstairs"}, "laterality is one of patient, picture", "patient"),
        ({"threshold": "much"}, "threshold is a number between 0 and 1", "0.5"),
        ({"threshold": 7}, "threshold is a number between 0 and 1", "0.5"),
        ({"result_extension": ".exe"}, "result_extension is one of", ".nrrd"),
        ({"result_dtype": "complex"}, "result_dtype is one of", "uint8"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_in_words(bad: Server, params: dict, said: str, remedy: str) -> None:
    assert_refused(bad, GOOD, params, said, remedy)


def test_an_unknown_model_is_refused_with_the_known_ones(bad: Server) -> None:
    answer = bad.post(GOOD, "{}", model="gpt")
    assert answer.status_code == 404
    assert '"gpt"' in answer.json()["detail"]
    assert DEFAULT_MODEL in answer.json()["detail"]


def test_a_prompt_beyond_a_form_field_is_refused(bad: Server) -> None:
    assert bad.post(GOOD, json.dumps({"prompt": "left " * 400_000})).status_code == 400


@pytest.mark.parametrize(("image", "status"), [("", 422), ("{secret}", 404), ("../secret", 404)])
def test_a_file_of_the_server_is_not_given_out(bad: Server, tmp_path: Path, image: str, status: int) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes((bad.studies / "xray_alpha.png").read_bytes())
    spoofed = {"image": str(secret), "uploaded": str(secret), "session": {"name": "mine", "image": str(secret)}}
    assert bad.post(image.format(secret=secret), json.dumps(spoofed)).status_code == status


def test_the_address_says_which_picture_it_is_and_nothing_else(bad: Server) -> None:
    spoofed = {"image": "/etc/passwd", "model": "none", "session": {"name": "mine", "image": "/etc/passwd"}}
    answer = bad.post(GOOD, json.dumps(spoofed))
    assert answer.status_code == 200 and b"sizes: 512 512 1" in answer.content


@pytest.mark.parametrize(("image", "name", "status"), [("../out", "o.png", 404), ("out", "o.exe", 415)])
def test_an_upload_stays_in_the_studies_and_is_a_picture(bad: Server, image: str, name: str, status: int) -> None:
    with (bad.studies / "xray_alpha.png").open("rb") as picture:
        answer = requests.put(f"{bad.url}/datastore/", params={"image": image}, files={"file": (name, picture)})
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert not list(bad.studies.parent.glob("out*"))


def test_the_server_lives_on(bad: Server, tmp_path: Path) -> None:
    mask, _ = bad.infer(tmp_path, GOOD)
    assert mask.GetSize() == (512, 512, 1)
