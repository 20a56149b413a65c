"""What a viewer gets and gives: every picture opens alone in Slicer, a series is one volume, labels lie on pictures."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client.client import MONAILabelClientException
from PIL import Image

from harness import Server, assert_same_grid, three_dimensional
from textseg.data.dicom_files import write_ct_series, write_radiograph
from textseg.imaging.kinds import stem_of

STACKED = ("chest_1.png", "chest_2.png", "chest_10.png", "ct_1.nii.gz", "ct_2.nii.gz", "img0001.dcm", "img0002.dcm")
SERIES, CHANGING, SPACING = "scan", "changing", (1.5, 1.25, 4.0)
LABELLED, UNLABELLED, COLUMNS, ROWS = "labelled", "unlabelled", 56, 40
LPS_IDENTITY, RAS_IDENTITY, MIRRORED = ((x, 0, 0, 0, y, 0, 0, 0, 1) for x, y in ((1, 1), (-1, -1), (-1, 1)))
Samples = dict[str, dict[str, Any]]


def ramp(columns: int, rows: int) -> np.ndarray:
    """A grey picture, another for every size."""
    return np.linspace(0, 255, columns * rows).reshape(rows, columns).astype(np.uint8)


def blocks(slices: int, columns: int = COLUMNS) -> np.ndarray:
    """A label that no flip leaves as it is."""
    values = np.zeros((slices, ROWS, columns), np.uint8)
    values[0, 2:9, 3:7], values[-1, 12:15, 9:14] = 1, 2
    return values


def write_scan(folder: Path, slices: int) -> None:
    """A CT series named after its folder."""
    write_ct_series(folder, blocks(slices).astype(np.int16) * 500 - 1000, SPACING, folder.name)


@pytest.fixture(scope="module")
def own(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server on pictures whose names differ only by a number, two series, and two pictures to be labelled."""
    studies = tmp_path_factory.mktemp("own")
    for index, name in enumerate(STACKED):
        pixels = ramp(40 + 4 * index, 64 - 4 * index)
        if name.endswith(".dcm"):
            write_radiograph(studies / name, pixels, name)
        else:
            flat = name.endswith(".png")
            sitk.WriteImage(sitk.GetImageFromArray(pixels if flat else pixels[None]), str(studies / name))
    for name in (LABELLED, UNLABELLED):
        Image.fromarray(ramp(COLUMNS, ROWS)).save(studies / f"{name}.png")
    write_scan(studies / SERIES, 6)
    write_scan(studies / CHANGING, 6)
    return start_server(studies)


@pytest.fixture(scope="module")
def samples(own: Server, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """File name -> what Next Sample says of it. The strategy prefers what it has not given yet."""
    client, given = own.client(tmp_path_factory.mktemp("samples")), {}
    ids = {name: stem_of(Path(name)) for name in STACKED}
    for _ in range(100):
        if set(ids.values()) <= set(given):
            break
        sample = client.next_sample("random", {})
        given[sample["id"]] = sample
    return {name: given[image] for name, image in ids.items()}


def opened_with(path: Path) -> list[str]:
    """The files that Slicer opens as one volume when it is given `path`: ITK's grouping by the numbers in names."""
    names = itk.ArchetypeSeriesFileNames.New()
    names.SetArchetype(str(path))
    return [Path(name).name for name in names.GetFileNames()]


def download(server: Server, folder: Path, image: str) -> Path:
    """A picture as a viewer or browser saves it, under the name that the server gives it."""
    answer = requests.get(f"{server.url}/datastore/image", params={"image": image}, timeout=60)
    name = re.fullmatch('attachment; filename="(.+)"', answer.headers["content-disposition"])[1]
    (folder / name).write_bytes(answer.content)
    return folder / name


@pytest.mark.parametrize("name", STACKED)
def test_slicer_would_stack_pictures_by_the_numbers_in_their_names(own: Server, name: str) -> None:
    assert len(opened_with(own.studies / name)) > 1


@pytest.mark.parametrize("name", STACKED)
def test_a_next_sample_is_the_picture_and_opens_alone(own: Server, samples: Samples, name: str) -> None:
    path = Path(samples[name]["path"])
    assert opened_with(path) == [path.name]
    pixels = (sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in (path, own.studies / name))
    assert np.array_equal(*pixels)


def test_samples_have_names_of_their_own_without_digits(samples: Samples) -> None:
    names = {sample["name"] for sample in samples.values()}
    assert len(names) == len(STACKED)
    assert not [name for name in names if re.search(r"\d", name)]
    assert all(sample["PatientID"] == sample["id"] for sample in samples.values())


def test_downloads_are_the_same_bytes_and_open_alone_side_by_side(
    own: Server, samples: Samples, tmp_path: Path
) -> None:
    for name, sample in samples.items():
        file = download(own, tmp_path, sample["id"])
        assert file.name == sample["name"]
        assert file.read_bytes() == (own.studies / name).read_bytes()
    assert all(opened_with(path) == [path.name] for path in tmp_path.iterdir())


def test_a_series_is_downloaded_as_one_volume(own: Server, tmp_path: Path) -> None:
    file = download(own, tmp_path, SERIES)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(own.studies / SERIES)))
    delivered, read = sitk.ReadImage(str(file)), reader.Execute()
    assert file.suffix == ".nrrd"
    assert np.array_equal(sitk.GetArrayFromImage(delivered), sitk.GetArrayFromImage(read))
    assert_same_grid(delivered, read)


def test_a_series_that_changed_is_delivered_anew_and_the_old_volume_is_gone(own: Server, tmp_path: Path) -> None:
    before = download(own, tmp_path, CHANGING)
    (own.studies / CHANGING / "slice_005.dcm").unlink()
    after = download(own, tmp_path, CHANGING)
    assert [sitk.ReadImage(str(file)).GetDepth() for file in (before, after)] == [6, 5]
    kept = {path.name for path in (own.studies / ".textseg").rglob(f"{CHANGING}*.nrrd")}
    assert kept == {after.name} != {before.name}


def test_a_series_comes_and_goes_while_the_server_runs(own: Server, tmp_path: Path) -> None:
    write_scan(own.studies / "late", 5)
    wait_until_listed(own, tmp_path, "late", True)
    assert own.infer(tmp_path, "late")[0].GetSize() == (COLUMNS, ROWS, 5)
    shutil.rmtree(own.studies / "late")
    answer = own.post("late", "{}")
    assert answer.status_code == 404
    assert 'no picture "late"' in answer.json()["detail"]
    wait_until_listed(own, tmp_path, "late", False)


def wait_until_listed(server: Server, folder: Path, image: str, wanted: bool) -> None:
    """Until the picture is in the list, or no longer; a watcher needs a moment for it."""
    deadline = time.monotonic() + 30
    while (image in server.client(folder).datastore()["objects"]) != wanted:
        assert time.monotonic() < deadline, f"listed: {not wanted}"
        time.sleep(0.2)


def label_file(path: Path, values: np.ndarray, direction: tuple[int, ...] = LPS_IDENTITY) -> Path:
    """A label as Slicer writes it: three axes, spacing 1, origin 0."""
    image = sitk.GetImageFromArray(values)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


def save_label(server: Server, folder: Path, image: str, file: Path) -> Path:
    """Submit as Slicer does; where the label is stored."""
    server.client(folder).save_label(image, str(file), params={"label_info": []})
    return server.studies / "labels" / "final" / f"{image}.nii.gz"


@pytest.mark.parametrize(("direction", "value"), [(LPS_IDENTITY, 1), (RAS_IDENTITY, 3)], ids=["LPS", "RAS"])
def test_a_label_is_stored_on_the_pictures_own_grid(
    own: Server, tmp_path: Path, direction: tuple[int, ...], value: int
) -> None:
    file = label_file(tmp_path / "label.nii.gz", blocks(1) * value, direction)
    stored = sitk.ReadImage(str(save_label(own, tmp_path, LABELLED, file)))
    assert np.array_equal(sitk.GetArrayFromImage(stored), blocks(1) * value)
    assert_same_grid(stored, three_dimensional(sitk.ReadImage(str(own.studies / f"{LABELLED}.png"))))


def test_a_label_of_a_series_is_stored_on_its_volume(own: Server, tmp_path: Path) -> None:
    label = sitk.GetImageFromArray(blocks(6))
    label.CopyInformation(sitk.ReadImage(str(download(own, tmp_path, SERIES))))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    stored = sitk.ReadImage(str(save_label(own, tmp_path, SERIES, tmp_path / "label.nii.gz")))
    assert np.array_equal(sitk.GetArrayFromImage(stored), blocks(6))
    assert_same_grid(stored, label)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        ((COLUMNS + 1, LPS_IDENTITY), 422, "does not lie on its picture: 57 x 40 x 1 voxels"),
        ((COLUMNS, MIRRORED), 422, "does not lie on its picture"),
        ("infection", 415, "cannot be read: it is damaged"),
        ("", 415, "is empty (zero bytes)"),
    ],
    ids=["size", "mirrored", "text", "nothing"],
)
def test_a_bad_label_is_refused_and_the_earlier_one_stays(
    own: Server, tmp_path: Path, content: str | tuple[int, tuple[int, ...]], status: int, said: str
) -> None:
    good = save_label(own, tmp_path, LABELLED, label_file(tmp_path / "good.nii.gz", blocks(1)))
    kept, bad = good.read_bytes(), tmp_path / "bad.nii.gz"
    if isinstance(content, str):
        bad.write_text(content)
    else:
        label_file(bad, blocks(1, content[0]), content[1])
    for image in (LABELLED, UNLABELLED):
        with pytest.raises(MONAILabelClientException, match=rf"Status: {status};.*{re.escape(said)}"):
            save_label(own, tmp_path, image, bad)
    assert good.read_bytes() == kept
    assert not list((own.studies / "labels").rglob(f"{UNLABELLED}*"))


def test_a_label_of_an_unknown_picture_is_refused(own: Server, tmp_path: Path) -> None:
    with pytest.raises(MONAILabelClientException, match="Status: 404"):
        save_label(own, tmp_path, "nobody", label_file(tmp_path / "label.nii.gz", blocks(1)))


def test_a_file_and_a_series_of_one_name_are_refused_by_both_names(own: Server) -> None:
    shutil.copy(own.studies / f"{LABELLED}.png", own.studies / "twin.png")
    write_scan(own.studies / "twin", 3)
    answer = own.post("twin", "{}")
    assert answer.status_code == 415
    assert "twin.png and twin have one name" in answer.json()["detail"]
