"""What is no label is refused in words and changes nothing; a good one is kept; what goes, goes into the trash."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client.client import MONAILabelClientException
from PIL import Image

from harness import Server, assert_same_grid, three_dimensional
from textseg.registry import DEFAULT_MODEL

FLAT, VOLUME = "door_flat", "door_volume"  # without a place of its own, and with one
COLUMNS, ROWS, SLICES = 48, 40, 3
ORIGIN, SPACING = (-180.0, -170.0, -95.0), (1.0, 1.0, 3.0)
PROMPT = "Unilateral pulmonary infection, one infected area, lower right lung"  # where `block` lies
GREY = np.linspace(0, 255, COLUMNS * ROWS).reshape(ROWS, COLUMNS).astype(np.uint8)
KEPT = ("pictures", "trash", "unfinished")  # of the store: what a refused label must not change
Made = Callable[[Path], Path]


def block(value: int = 1, slices: int = 1) -> np.ndarray:
    """A label that no flip leaves as it is."""
    values = np.zeros((slices, ROWS, COLUMNS), np.uint8)
    values[0, 5:9, 7:20] = value
    return values


def itk(path: Path, values: np.ndarray, origin: tuple[float, ...] | None = None) -> Path:
    """A label file of these voxels; with an origin, in the spacing of the volume as well."""
    image = sitk.GetImageFromArray(values)
    if origin is not None:
        image.SetOrigin(origin)
        image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    return path


def png(path: Path, values: np.ndarray) -> Path:
    """A flat file of these pixels."""
    Image.fromarray(values).save(path)
    return path


def raw(path: Path, data: bytes) -> Path:
    """A file of these bytes."""
    path.write_bytes(data)
    return path


def cut(path: Path) -> Path:
    """The first half of a whole label file."""
    data = itk(path, block()).read_bytes()
    return raw(path, data[: len(data) // 2])


def with_value(value: float) -> np.ndarray:
    """A label of floats, one voxel of which has this value."""
    values = block().astype(np.float32)
    values[0, 0, 0] = value
    return values


def four_dimensional(path: Path) -> Path:
    """Two labels in one file."""
    one = sitk.GetImageFromArray(block())
    sitk.WriteImage(sitk.JoinSeries([one, one]), str(path))
    return path


@pytest.fixture(scope="module")
def door(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server with a flat picture and a volume, both with a prompt and a person's label."""
    folder = tmp_path_factory.mktemp("door")
    png(server.studies / f"{FLAT}.png", GREY)
    itk(server.studies / f"{VOLUME}.nii.gz", np.full((SLICES, ROWS, COLUMNS), -900, np.int16), ORIGIN)
    client = server.client(folder)
    for image, label in (
        (FLAT, itk(folder / "flat.nii.gz", block())),
        (VOLUME, itk(folder / "volume.nii.gz", block(slices=SLICES), ORIGIN)),
    ):
        client.infer(DEFAULT_MODEL, image, {"prompt": PROMPT})
        assert client.save_label(image, str(label))["version"] == 1
    return server


def content(server: Server) -> dict[str, bytes]:
    """Path -> content of all labels, versions, prompts, and what was deleted."""
    folders = [server.studies / "labels", *(server.studies / ".textseg" / name for name in KEPT)]
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def put(server: Server, file: Path, image: str, tag: str = "final", params: str = "{}") -> requests.Response:
    """PUT /datastore/label as it is, for what the client would not send."""
    with file.open("rb") as opened:
        files = {"label": (file.name, opened), "params": (None, params)}
        return requests.put(f"{server.url}/datastore/label", params={"image": image, "tag": tag}, files=files)


def assert_turned_away(server: Server, answer: Callable[[], requests.Response], said: str, remedy: str) -> None:
    """A 4xx whose sentence names the fault and the remedy; nothing that is kept has changed."""
    before = content(server)
    refused = answer()
    assert 400 <= refused.status_code < 500, refused.text
    assert said in refused.json()["detail"]
    assert remedy in refused.json()["detail"]
    assert content(server) == before


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".png"])
def test_a_label_without_a_byte_is_refused(door: Server, tmp_path: Path, suffix: str) -> None:
    file = raw(tmp_path / f"a{suffix}", b"")
    assert_turned_away(door, lambda: put(door, file, FLAT), "is empty (zero bytes)", "Copy or export it again")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_label_that_was_cut_off_is_refused(door: Server, tmp_path: Path, suffix: str) -> None:
    file = cut(tmp_path / f"a{suffix}")
    assert_turned_away(door, lambda: put(door, file, FLAT), "cannot be read", "Copy or export it again")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".png"])
def test_a_text_is_refused_whatever_it_is_called(door: Server, tmp_path: Path, suffix: str) -> None:
    file = raw(tmp_path / f"a{suffix}", b"this is no label\n" * 30)
    assert_turned_away(door, lambda: put(door, file, FLAT), "cannot be read", "xport it")


@pytest.mark.parametrize(
    ("image", "make", "said", "remedy"),
    [
        (FLAT, lambda folder: png(folder / "a.jpg", GREY), "cannot be a label", "Save it as one of .png, .nii"),
        (FLAT, lambda folder: raw(folder / "a.exe", b"MZ" * 99), "cannot be a label", "Save it as one of .png, .nii"),
        (FLAT, lambda folder: raw(folder / "a", b"label"), "cannot be a label", "Save it as one of .png, .nii"),
        (FLAT, lambda folder: raw(folder / "a.png", b"\xff\xd8\xff\xe0JFIF"), "cannot be read", "export it again"),
        (FLAT, lambda folder: png(folder / "a.png", GREY), "a picture, no label", "one small whole number"),
        (FLAT, lambda folder: itk(folder / "a.nii.gz", GREY[None]), "a picture, no label", "one small whole number"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", with_value(0.5)), "values that are no labels", "Export it anew"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", with_value(np.nan)), "no numbers (NaN", "Export it anew"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", with_value(np.inf)), "no numbers (NaN", "Export it anew"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", with_value(-1)), "values that are no labels", "Export it anew"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", with_value(70_000)), "values that are no labels", "Export it"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", block()[:, 1:]), "does not lie on its picture", "own grid"),
        (FLAT, lambda folder: itk(folder / "a.nrrd", block(slices=2)), "does not lie on its picture", "own grid"),
        (FLAT, lambda folder: four_dimensional(folder / "a.nii.gz"), "has 4 dimensions", "Export one of them"),
        (VOLUME, lambda folder: itk(folder / "a.nrrd", block()), "does not lie on its picture", "own grid"),
        (
            VOLUME,
            lambda folder: itk(folder / "a.nrrd", block(slices=SLICES), (-180.0, -170.0, 500.0)),
            "does not lie on its picture",
            "own grid",
        ),
    ],
)
def test_a_file_that_is_no_label_of_this_picture_is_refused(
    door: Server, tmp_path: Path, image: str, make: Made, said: str, remedy: str
) -> None:
    file = make(tmp_path)
    assert_turned_away(door, lambda: put(door, file, image), said, remedy)


@pytest.mark.parametrize(
    ("image", "tag", "params", "said", "remedy"),
    [
        (FLAT, "draft", "{}", 'not "draft"', "one of final, original"),
        (FLAT, "../final", "{}", 'not "../final"', "one of final, original"),
        ("nobody", "final", "{}", 'no picture "nobody"', "Refresh the list"),
        ("../door_flat", "final", "{}", "is no picture", "not a path"),
        (FLAT, "final", '{"label_info": ', "params is no JSON", "Send an object"),
        (FLAT, "final", '[{"label_info": []}]', "not a list", "params is a JSON object"),
        (FLAT, "final", '"text"', "not a str", "params is a JSON object"),
        (FLAT, "final", '{"label_info": NaN}', "NaN is no JSON number", "Send an object"),
        (FLAT, "final", '{"label_info": [{"name": "\\ud800", "idx": 1}]}', "params is no JSON", "Send an object"),
    ],
)
def test_what_is_said_of_a_label_must_make_sense(
    door: Server, tmp_path: Path, image: str, tag: str, params: str, said: str, remedy: str
) -> None:
    file = itk(tmp_path / "a.nii.gz", block())
    assert_turned_away(door, lambda: put(door, file, image, tag, params), said, remedy)


@pytest.mark.parametrize("name", ["x" * 250 + ".nii.gz", ".nii.gz"])
def test_a_file_name_that_cannot_be_used_is_refused(door: Server, tmp_path: Path, name: str) -> None:
    data = itk(tmp_path / "a.nii.gz", block()).read_bytes()
    url, query = f"{door.url}/datastore/label", {"image": FLAT}
    answer = lambda: requests.put(url, params=query, files={"label": (name, data)})  # noqa: E731
    assert_turned_away(door, answer, "file name", "horten it" if len(name) > 200 else "a plain name with its suffix")
    answer = lambda: requests.put(url, params=query, data={"params": "{}"})  # noqa: E731
    assert_turned_away(door, answer, "`label` in the body is missing", "send it")


def test_the_client_shows_why_a_label_is_refused(door: Server, tmp_path: Path) -> None:
    with pytest.raises(MONAILabelClientException, match=r"Status: 422; .*Export it anew"):
        door.client(tmp_path).save_label(FLAT, str(itk(tmp_path / "a.nii.gz", with_value(0.5))))


@pytest.mark.parametrize(
    "info",
    [
        "infection",
        7,
        None,
        {"name": "infection"},
        [],
        [1, 2],
        [None],
        [{"name": 5}],
        [{"name": {"a": 1}, "idx": "one"}],
    ],
    ids=str,
)
def test_nobody_loses_a_label_by_what_a_viewer_says_of_its_segments(door: Server, tmp_path: Path, info: Any) -> None:
    file = itk(tmp_path / "a.nii.gz", block())
    answer = put(door, file, FLAT, params=json.dumps({"label_info": info}))
    assert answer.status_code == 200, answer.text
    downloaded = door.client(tmp_path).download_label(FLAT, "final")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(downloaded)), block())


def assert_kept(server: Server, folder: Path, image: str, wanted: np.ndarray) -> None:
    """The label that a client gets holds these voxels, on the picture's own grid."""
    label = sitk.ReadImage(server.client(folder).download_label(image, "final"))
    assert np.array_equal(sitk.GetArrayFromImage(label), wanted)
    (picture,) = server.studies.glob(f"{image}.*")
    assert_same_grid(label, three_dimensional(sitk.ReadImage(str(picture))))


@pytest.mark.parametrize(
    ("image", "make", "wanted"),
    [
        (FLAT, lambda folder: itk(folder / "a.nii.gz", block(3)), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nii", block(3)), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nrrd", block(3)), block(3)),
        (FLAT, lambda folder: itk(folder / "a.mha", block(3)), block(3)),
        (FLAT, lambda folder: png(folder / "a.png", block(3)[0]), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nii.gz", block(3)).rename(folder / "A.NII.GZ"), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nii.gz", block(3).astype(np.float32)), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nrrd", block(3).astype(np.uint16)), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nrrd", block(3)[0]), block(3)),  # flat
        (FLAT, lambda folder: itk(folder / "a.nii.gz", block(3)[0]), block(3)),
        (FLAT, lambda folder: itk(folder / "a.nii.gz", block(0)), block(0)),
        (
            VOLUME,
            lambda folder: itk(folder / "a.nrrd", block(2, SLICES).astype(np.int16), ORIGIN),
            block(2, SLICES),
        ),
    ],
)
def test_a_good_label_is_kept_voxel_by_voxel(
    door: Server, tmp_path: Path, image: str, make: Made, wanted: np.ndarray
) -> None:
    reply = door.client(tmp_path).save_label(image, str(make(tmp_path)))
    assert reply["label"] == image and reply["warnings"] == []
    assert [segment["prompt"] for segment in reply["segments"]] == [PROMPT]
    assert_kept(door, tmp_path, image, wanted)


@pytest.mark.parametrize("named", [None, 1, 255])
@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_a_mask_of_0_and_255_is_mended_and_that_is_said(
    door: Server, tmp_path: Path, suffix: str, named: int | None
) -> None:
    info = [{"name": "infection", "idx": named}] if named else None
    write = png if suffix == ".png" else itk
    file = write(tmp_path / f"a{suffix}", block(255)[0])
    reply = door.client(tmp_path).save_label(FLAT, str(file), params={"label_info": info})
    assert reply["warnings"] == ["The mask held 0 and 255; it is kept as 0 and 1."]
    assert [segment["prompt"] for segment in reply["segments"]] == [PROMPT]
    assert_kept(door, tmp_path, FLAT, block(1))


def test_values_that_are_named_may_be_large(door: Server, tmp_path: Path) -> None:
    values = block().astype(np.uint16) * 300
    params = {"label_info": [{"name": "RLL consolidation", "idx": 300}]}
    reply = door.client(tmp_path).save_label(FLAT, str(itk(tmp_path / "a.nrrd", values)), params=params)
    assert [segment["prompt"] for segment in reply["segments"]] == ["RLL consolidation"]
    assert_kept(door, tmp_path, FLAT, values)


def test_an_empty_mask_says_that_nothing_is_there(door: Server, tmp_path: Path) -> None:
    png(door.studies / "door_unasked.png", GREY.T)
    for image, prompt, source in ((FLAT, PROMPT, "last prompt"), ("door_unasked", "", "none")):
        values = np.zeros((1, *(GREY if image == FLAT else GREY.T).shape), np.uint8)
        reply = door.client(tmp_path).save_label(image, str(itk(tmp_path / "a.nii.gz", values)))
        assert reply["segments"] == [{"names": [], "prompt": prompt, "source": source}]
        assert reply["warnings"] == []
        assert_kept(door, tmp_path, image, values)


def test_a_machines_mask_does_not_replace_a_persons_final_label(door: Server, tmp_path: Path) -> None:
    client = door.client(tmp_path)
    client.save_label(FLAT, str(itk(tmp_path / "a.nii.gz", block(2))))
    before = requests.get(f"{door.url}/datastore/label/info", params={"label": FLAT, "tag": "final"}).json()
    answer = door.post(FLAT, json.dumps({"save_label": True, "label_tag": "final", "prompt": PROMPT}))
    assert answer.status_code == 409
    assert (
        "The final label of door_flat is by a person" in answer.json()["detail"]
        and "tag original" in answer.json()["detail"]
    )
    assert requests.get(f"{door.url}/datastore/label/info", params={"label": FLAT, "tag": "final"}).json() == before
    assert_kept(door, tmp_path, FLAT, block(2))
    assert door.post(FLAT, json.dumps({"save_label": True, "label_tag": "original"})).status_code == 200


def trashed(server: Server, image: str) -> list[Path]:
    """The picture's files in the trash."""
    return [path for path in (server.studies / ".textseg" / "trash" / image).rglob("*") if path.is_file()]


def labels_of(server: Server, folder: Path, image: str) -> dict[str, Any]:
    """The picture's labels as they are listed."""
    return server.client(folder).datastore()["objects"][image]["labels"]


def test_a_deleted_label_lies_in_the_trash_with_all_its_versions(door: Server, tmp_path: Path) -> None:
    image, client = "door_deleted", door.client(tmp_path)
    client.upload_image(str(png(tmp_path / f"{image}.png", GREY)), image)
    client.infer(DEFAULT_MODEL, image, {"prompt": PROMPT})
    for value in (1, 2):
        client.save_label(image, str(itk(tmp_path / "a.nrrd", block(value))))
    where = {"id": image, "tag": "final"}
    assert requests.delete(f"{door.url}/datastore/label", params=where).status_code == 200
    versions = {path.name: path for path in trashed(door, image) if path.name.startswith("00000")}
    assert {name for name in versions if name.endswith(".nrrd")} == {"000001.nrrd", "000002.nrrd"}
    for value in (1, 2):
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(versions[f"00000{value}.nrrd"])))
        assert np.array_equal(voxels, block(value))
        assert json.loads(versions[f"00000{value}.json"].read_text())["segments"][0]["prompt"] == PROMPT
    assert labels_of(door, tmp_path, image) == {}
    assert list((door.studies / "labels" / "final").glob(f"{image}*")) == []
    again = requests.delete(f"{door.url}/datastore/label", params=where)
    assert again.status_code == 404 and "no final label" in again.json()["detail"]
    assert client.infer(DEFAULT_MODEL, image, {"prompt": ""})[1]["prompt"] == PROMPT
    assert client.save_label(image, str(itk(tmp_path / "a.nrrd", block(3))))["version"] == 1
    assert set(labels_of(door, tmp_path, image)) == {"final"}


def test_a_deleted_picture_lies_in_the_trash_with_its_prompts_and_labels(door: Server, tmp_path: Path) -> None:
    image, client = "door_removed", door.client(tmp_path)
    data = png(tmp_path / f"{image}.png", GREY).read_bytes()
    client.upload_image(str(tmp_path / f"{image}.png"), image)
    client.infer(DEFAULT_MODEL, image, {"prompt": PROMPT})
    client.save_label(image, str(itk(tmp_path / "a.nrrd", block(2))))
    assert requests.delete(f"{door.url}/datastore/", params={"id": image}).status_code == 200
    names = {path.name: path for path in trashed(door, image)}
    assert names[f"{image}.png"].read_bytes() == data
    assert PROMPT in names["prompts.jsonl"].read_text()
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(names["000001.nrrd"]))), block(2))
    assert image not in client.datastore()["objects"]
    assert list(door.studies.glob(f"{image}*")) == list((door.studies / "labels").rglob(f"{image}*")) == []
    again = requests.delete(f"{door.url}/datastore/", params={"id": image})
    assert again.status_code == 404 and image in again.json()["detail"]
    client.upload_image(str(raw(tmp_path / f"{image}.png", data)), image)
    assert client.infer(DEFAULT_MODEL, image, {"prompt": ""})[1]["prompt_source"] == "none"
    assert labels_of(door, tmp_path, image) == {}
