"""Sample studies: readable pictures with exact masks on their grids, and sentences that name the marked lungs."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from textseg.data.prompts_table import picture_id, read_prompts
from textseg.data.sample_studies import CT_NAME, MASKS, RADIOGRAPHS, SERIES_NAME, write_sample_studies
from textseg.imaging.kinds import SUFFIXES
from textseg.imaging.labels import read_mask
from textseg.imaging.read import read_picture
from textseg.text.prompt import read_prompt

NAMES = [*(drawing.name for drawing in RADIOGRAPHS), CT_NAME, SERIES_NAME]
SLICES = {CT_NAME: 24, SERIES_NAME: 16}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The folder of sample studies, written once."""
    folder = tmp_path_factory.mktemp("studies")
    assert [path.name for path in write_sample_studies(folder)] == NAMES
    return folder


def mask_of(studies, name):
    return studies / MASKS / f"{picture_id(name)}.nii.gz"


def picture_and_mask(studies, name):
    picture = read_picture(studies / name)
    return picture, read_mask(mask_of(studies, name), picture)


def test_every_kind_of_file_is_among_them(studies):
    files = {name for name in NAMES if (studies / name).is_file()}
    assert {"." + name.split(".", 1)[1] for name in files} == {".png", ".dcm", ".nii.gz"}
    assert {path.name for path in studies.iterdir() if path.name.endswith(SUFFIXES)} == files
    assert len(list((studies / SERIES_NAME).glob("*.dcm"))) == SLICES[SERIES_NAME]


def test_names_differ_in_letters_so_that_slicer_does_not_stack_them():
    assert len({re.sub(r"\d+", "", picture_id(name)) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_can_be_read_and_has_its_modality(studies, name):
    picture = read_picture(studies / name)
    assert picture.modality == ("ct" if name in SLICES else "xray")
    assert picture.sides_known and picture.warnings == ()
    assert len(picture.slices) == SLICES.get(name, 1)
    assert picture.slices.std() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_exact_mask_lies_on_the_pictures_grid(studies, name):
    picture, mask = read_picture(studies / name), sitk.ReadImage(str(mask_of(studies, name)))
    grid = picture.grid
    assert mask.GetSize()[:2] == grid.size[:2]
    if mask.GetDimension() == 3:
        assert mask.GetSpacing() == pytest.approx(grid.spacing) and mask.GetOrigin() == grid.origin
        assert mask.GetDirection() == grid.direction
    assert set(np.unique(sitk.GetArrayFromImage(mask))) == {0, 1}


@pytest.mark.parametrize("name", NAMES)
def test_the_sentence_read_in_patient_sides_names_the_marked_lungs(studies, name):
    row = read_prompts(studies / "prompts.csv")[picture_id(name)]
    reading = read_prompt(row.prompt, "patient")
    assert reading.finding.unread == () and reading.warnings == ()
    _, mask = picture_and_mask(studies, name)
    middle = mask.shape[2] // 2
    marked = {"right": mask[..., :middle].any(), "left": mask[..., middle:].any()}
    assert marked == {"right": bool(reading.finding.right), "left": bool(reading.finding.left)}


@pytest.mark.parametrize("name", [drawing.name for drawing in RADIOGRAPHS])
def test_the_sentence_counts_the_marked_areas(studies, name):
    finding = read_prompt(read_prompts(studies / "prompts.csv")[picture_id(name)].prompt).finding
    count = sitk.ConnectedComponentImageFilter()
    count.FullyConnectedOn()
    count.Execute(sitk.GetImageFromArray(picture_and_mask(studies, name)[1][0].astype(np.uint8)))
    assert finding.count == count.GetObjectCount()


def test_every_picture_has_its_row_and_the_table_names_the_modality(studies):
    rows = read_prompts(studies / "prompts.csv")
    assert sorted(rows) == sorted(picture_id(name) for name in NAMES)
    assert {stem: row.modality for stem, row in rows.items()} == {
        picture_id(name): read_picture(studies / name).modality for name in NAMES
    }


def test_infection_is_marked_where_the_picture_is_brighter_than_the_lung(studies):
    picture, mask = picture_and_mask(studies, CT_NAME)
    lung = picture.slices[12][(picture.slices[12] > 0.2) & (picture.slices[12] < 0.5)]
    assert picture.slices[mask].mean() > lung.mean() + 0.2


def test_writing_them_again_gives_the_same_files(studies, tmp_path):
    write_sample_studies(tmp_path)
    for name in ("xray_alpha.png", "xray_delta.dcm", "prompts.csv"):
        assert (tmp_path / name).read_bytes() == (studies / name).read_bytes()
