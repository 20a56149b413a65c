"""Half-written and foreign files, of this server, of MONAI Label or of people: the server starts, and answers."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from PIL import Image

import harness
from harness import Server
from slicer import Slicer
from textseg.data.phantoms import draw_radiograph
from textseg.data.store.durable import iso_time
from textseg.data.store.history import TYPED, PromptEntry
from textseg.data.store.labels import PERSON
from textseg.data.store.store import Store
from textseg.registry import DEFAULT_MODEL
from textseg.server.sessions import SafeSessions

PROMPT, CUT_PROMPT = "RLL consolidation", "Left upper lobe pneumonia"
SIDE = 96  # pixels
PLAIN, KEPT, CUT, LOST = "plain", "kept", "cut_store", "lost_label"  # pictures
GARBAGE = {
    "words": ".nii.gz",
    "nothing": ".nrrd",
    "half": ".nii.gz",
    "folder": ".nrrd",
    "dangling": ".nrrd",
}  # picture -> what lies in labels/final under its name
CUT_OFF = b'{"schema": 1, "pixels_sha256": "ab'


def block(corner: int) -> np.ndarray:
    """A label's voxels, elsewhere for every corner."""
    values = np.zeros((1, SIDE, SIDE), np.uint8)
    values[0, corner : corner + 9, corner + 4 : corner + 20] = 1
    return values


def label_file(path: Path, corner: int = 5) -> Path:
    """A whole label."""
    sitk.WriteImage(sitk.GetImageFromArray(block(corner)), str(path))
    return path


def voxels(path: Path | str) -> np.ndarray:
    """What a label file holds."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def draw(studies: Path) -> None:
    """Small radiographs."""
    for seed, name in enumerate((PLAIN, KEPT, CUT, LOST, "gone", "unlabelled", *GARBAGE)):
        drawn = draw_radiograph({"left": ("lower",), "right": ("upper",)}, seed, SIDE)
        Image.fromarray(drawn.image).save(studies / f"{name}.png")


def keep(studies: Path, folder: Path) -> None:
    """Prompts and labels as an earlier server kept them."""
    store = Store(studies)
    for image in (KEPT, CUT, LOST, "gone"):
        store.remember(image, PromptEntry(iso_time(), PROMPT, TYPED, segment="a"), block(5))
        for corner in (5, 9):
            data = label_file(folder / "label.nii.gz", corner).read_bytes()
            store.save_label(image, "final", data, ".nii.gz", by=PERSON, time=iso_time(), prompt=PROMPT)


def leave_cut_store_files(studies: Path) -> None:
    """Every kind of file of the store cut off or overwritten."""
    store = studies / ".textseg"
    prompts = store / "pictures" / KEPT / "prompts.jsonl"
    line = json.dumps({"schema": 1, **PromptEntry(iso_time(), CUT_PROMPT, TYPED).to_json()}).encode()
    prompts.write_bytes(b"\0\xff garbage\n[1]\n" + prompts.read_bytes() + line[: len(line) // 2])
    cut = store / "pictures" / CUT
    for path in (cut / "picture.json", cut / "labels" / "final" / "000002.json", *(cut / "made").iterdir()):
        path.write_bytes(CUT_OFF)
    (store / "store.json").write_bytes(b"")
    (store / "clients").mkdir(exist_ok=True)
    for number in range(3):
        (store / "clients" / f"{number:032x}.json").write_bytes(CUT_OFF)
    (store / "unfinished").mkdir(exist_ok=True)
    (store / "unfinished" / "tmpabcdef").write_bytes(CUT_OFF)
    (store / "delivered").mkdir(exist_ok=True)
    (store / "delivered" / ".unfinished").mkdir()


def leave_stock_files(studies: Path, app: Path) -> None:
    """What a stock MONAI Label server leaves when it is killed."""
    (studies / "datastore_v2.json").write_text('{"name": "studies", "objects": {"plain": {"image": {"ext": ')
    (studies / ".lock").write_bytes(b"")
    (app / "model").mkdir()
    (app / "model" / "train_stats.json").write_text('{"epoch": 3, "best_met')
    (app / "model" / "segmentation.pt").write_bytes(b"PK\x03\x04")


def leave_garbage_labels(studies: Path, folder: Path) -> None:
    """Files, a folder and a link beside the labels that are none."""
    labels = studies / "labels" / "final"
    whole = label_file(folder / "label.nii.gz").read_bytes()
    (labels / "words.nii.gz").write_text("no label")
    (labels / "nothing.nrrd").write_bytes(b"")
    (labels / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    (labels / "folder.nii.gz").mkdir()
    (labels / "dangling.nrrd").symlink_to("/nonexistent")
    (labels / "stranger.nii.gz").write_bytes(whole)
    (labels / ".DS_Store").write_bytes(b"\0")
    (labels / "notes.txt").write_text("mine")
    (labels / f"{LOST}.nii.gz").write_bytes(whole[:40])


def leave_sessions(home: Path) -> tuple[list[str], str]:
    """Damaged sessions, and a good one; their ids."""
    folder = home / ".cache" / "monailabel" / "sessions"
    (home / "a.png").write_bytes((home / "picture.png").read_bytes())
    good, session = SafeSessions(str(folder)).add_session(str(home / "a.png"))
    meta = Path(session.path, "meta.info").read_text()
    damaged = []
    for content in ("", meta[: len(meta) // 2], "[]", "null", "\0", None):
        damaged.append(str(uuid.uuid4()))
        shutil.copytree(session.path, folder / damaged[-1])
        (folder / damaged[-1] / "meta.info").unlink()
        if content is not None:
            (folder / damaged[-1] / "meta.info").write_text(content)
    (folder / "stray").write_bytes(b"")
    (folder / str(uuid.uuid4())).write_bytes(b"a file")
    return damaged, good


@pytest.fixture(scope="module")
def sessions() -> dict[str, list[str]]:
    """The ids of the sessions left behind, once the server has started."""
    return {}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, sessions: dict[str, list[str]]) -> Iterator[Server]:
    """A server on studies, an app folder and a home folder full of half-written files."""
    studies, home = tmp_path_factory.mktemp("studies"), tmp_path_factory.mktemp("home")
    app = tmp_path_factory.mktemp("app") / "textseg"
    app.mkdir()
    shutil.copy(harness.APP / "main.py", app)
    draw(studies)
    keep(studies, home)
    leave_cut_store_files(studies)
    leave_stock_files(studies, app)
    leave_garbage_labels(studies, home)
    shutil.copy(studies / f"{PLAIN}.png", home / "picture.png")
    damaged, good = leave_sessions(home)
    sessions.update(damaged=damaged, good=[good])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MONAI_LABEL_SESSION_PATH", raising=False)
        server = harness.start(studies, (), home, app)
    yield server
    server.process.terminate()
    server.process.wait(30)


def test_the_server_answers_whatever_was_left(left: Server, tmp_path: Path) -> None:
    client = left.client(tmp_path)
    info = client.info()
    assert DEFAULT_MODEL in info["models"]
    assert PLAIN in client.datastore()["objects"] and "stranger" not in client.datastore()["objects"]
    mask, reply = left.infer(tmp_path, PLAIN, prompt=PROMPT)
    assert mask.GetSize() == (SIDE, SIDE, 1) and reply["prompt"] == PROMPT
    reply = client.save_label(PLAIN, str(label_file(tmp_path / "label.nrrd")))
    assert [segment["prompt"] for segment in reply["segments"]] == [PROMPT]
    assert np.array_equal(voxels(client.download_label(PLAIN, "final")), block(5))
    assert client.next_sample("random", {})["id"]
    assert (left.studies / ".lock").exists() and (left.studies / "datastore_v2.json").exists()


def test_whole_prompts_count_and_the_cut_one_never_was(left: Server, tmp_path: Path) -> None:
    _, reply = left.infer(tmp_path, KEPT)
    assert (reply["prompt_source"], reply["prompt"]) == ("remembered", PROMPT)
    left.infer(tmp_path, KEPT, prompt=CUT_PROMPT)
    _, reply = left.infer(tmp_path, KEPT)
    assert (reply["prompt_source"], reply["prompt"]) == ("remembered", CUT_PROMPT)


def test_cut_files_of_the_store_cost_only_themselves(left: Server, tmp_path: Path) -> None:
    client = left.client(tmp_path)
    assert np.array_equal(voxels(client.download_label(CUT, "final")), block(9))
    _, reply = left.infer(tmp_path, CUT)
    assert (reply["prompt_source"], reply["prompt"]) == ("remembered", PROMPT)
    told = client.save_label(CUT, str(label_file(tmp_path / "label.nii.gz", 30)))
    assert [segment["prompt"] for segment in told["segments"]] == [PROMPT]
    assert np.array_equal(voxels(client.download_label(CUT, "final")), block(30))
    kept = [voxels(path) for path in (left.studies / ".textseg" / "pictures" / CUT).rglob("00000*.nii.gz")]
    for corner in (5, 9, 30):
        assert any(np.array_equal(values, block(corner)) for values in kept)


def test_a_label_whose_shown_file_is_cut_is_still_the_last_version(left: Server, tmp_path: Path) -> None:
    client = left.client(tmp_path)
    assert np.array_equal(voxels(client.download_label(LOST, "final")), block(9))


@pytest.mark.parametrize("image", GARBAGE)
def test_garbage_is_no_label_and_gives_way_to_one(left: Server, tmp_path: Path, image: str) -> None:
    client = left.client(tmp_path)
    assert client.datastore()["objects"][image]["labels"] == {}
    where = {"label": image, "tag": "final"}
    assert requests.get(f"{left.url}/datastore/label", params=where).status_code == 404
    reply = client.save_label(image, str(label_file(tmp_path / f"label{GARBAGE[image]}", 12)))
    assert reply["version"] == 1
    assert np.array_equal(voxels(client.download_label(image, "final")), block(12))


def test_what_people_put_beside_the_labels_stays(left: Server) -> None:
    labels = left.studies / "labels" / "final"
    assert (labels / "notes.txt").read_text() == "mine"
    assert np.array_equal(voxels(labels / "stranger.nii.gz"), block(5))


def test_a_damaged_session_is_unknown_and_a_good_one_is_served(
    left: Server, tmp_path: Path, sessions: dict[str, list[str]]
) -> None:
    client = left.client(tmp_path)
    for name in sessions["damaged"]:
        assert requests.get(f"{left.url}/session/{name}").status_code == 404
        answer = requests.post(f"{left.url}/infer/{DEFAULT_MODEL}", params={"session_id": name, "image": PLAIN})
        assert answer.status_code == 404 and "Send the picture again" in answer.json()["detail"]
    (good,) = sessions["good"]
    new = client.create_session(str(left.studies / f"{PLAIN}.png"))["session_id"]
    for name in (good, new):
        assert client.infer(DEFAULT_MODEL, "", {"prompt": PROMPT}, session_id=name)[1]["prompt"] == PROMPT


def test_all_labels_can_be_downloaded(left: Server, tmp_path: Path) -> None:
    left.client(tmp_path).save_label(PLAIN, str(label_file(tmp_path / "label.nrrd")))
    assert requests.get(f"{left.url}/datastore/", params={"output": "train"}).status_code == 200
    archive = requests.get(f"{left.url}/datastore/dataset")
    assert archive.status_code == 200 and archive.content.startswith(b"PK")


@pytest.fixture(params=["open quote", "not UTF-8", "no columns"])
def damaged_table(left: Server, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A prompts.csv that cannot be read."""
    content = {
        "open quote": b'image,prompt\nplain.png,"lower',
        "not UTF-8": b"image,prompt\nplain.png,\xff",
        "no columns": b"plain.png;RLL consolidation",
    }
    table = left.studies / "prompts.csv"
    table.write_bytes(content[request.param])
    yield table
    table.unlink()


def test_a_damaged_table_of_prompts_costs_no_label_and_is_told(
    left: Server, tmp_path: Path, damaged_table: Path
) -> None:
    told = left.client(tmp_path).save_label(PLAIN, str(label_file(tmp_path / "label.nii.gz", 40)))
    assert any("prompts.csv" in warning for warning in told["warnings"])
    assert np.array_equal(voxels(left.client(tmp_path).download_label(PLAIN, "final")), block(40))
    refused = left.post("unlabelled", "{}")
    assert refused.status_code == 422 and "prompts.csv" in refused.json()["detail"]


def test_a_typed_prompt_needs_no_table_of_prompts(left: Server, tmp_path: Path, damaged_table: Path) -> None:
    _, reply = left.infer(tmp_path, PLAIN, prompt=PROMPT)
    assert (reply["prompt_source"], reply["prompt"]) == ("typed", PROMPT)
    assert any("prompts.csv" in warning for warning in reply["warnings"])


def test_slicers_own_run_after_next_sample_opens_no_dialog_for_a_damaged_table(
    left: Server, tmp_path: Path, damaged_table: Path
) -> None:
    window = Slicer(left, tmp_path, client_id="opens no dialog")
    window.connect()
    assert window.next_sample()["id"]
    assert any("prompts.csv" in warning for warning in window.reply["warnings"])


def test_a_label_and_a_picture_that_vanish_hold_no_listing_up(left: Server, tmp_path: Path) -> None:
    client = left.client(tmp_path)
    (left.studies / "labels" / "final" / f"{KEPT}.nii.gz").unlink()
    (left.studies / "gone.png").unlink()
    for output in ("all", "train", "stats"):
        answer = requests.get(f"{left.url}/datastore/", params={"output": output})
        assert answer.status_code == 200, answer.text
    assert client.info()["datastore"]["total"] > 0
    assert requests.get(f"{left.url}/datastore/dataset").status_code == 200
