"""Data sets on disk: which picture belongs to which mask and sentence, and what is said when the layout is wrong."""

import zipfile
from pathlib import Path

import pytest

from textseg.data.prompts_table import picture_id, read_prompts
from textseg.data.records import data_folder, read_records
from textseg.errors import DataError, PromptError
from textseg.text.finding import Finding

LEFT_LOWER = "Unilateral pulmonary infection, one infected area, lower left lung."
BOTH = "Bilateral pulmonary infection, two infected areas, upper left lung and lower right lung."


def make(folder: Path, names: tuple[str, ...] = ("alpha.png", "bravo.png"), **tables: str) -> Path:
    """A data set with (empty) pictures, masks of the same stem, and tables such as prompts="image,prompt\\n..."."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / part / name).touch()
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_pictures_masks_and_sentences_are_joined_by_name(tmp_path):
    make(tmp_path, ("bravo.png", "alpha.jpg"), prompts=f'image,prompt\nalpha.jpg,"{LEFT_LOWER}"\nbravo,"{BOTH}"\n')
    (tmp_path / "masks" / "alpha.jpg").rename(tmp_path / "masks" / "alpha.nii.gz")
    alpha, bravo = read_records(tmp_path)
    assert (alpha.name, alpha.image.name, alpha.mask.name) == ("alpha", "alpha.jpg", "alpha.nii.gz")
    assert (alpha.prompt, alpha.bilateral) == (LEFT_LOWER, False)
    assert alpha.finding == Finding(left=("lower",), count=1)
    assert bravo.finding == Finding(left=("upper",), right=("lower",), count=2) and bravo.bilateral is True


def test_a_picture_without_a_sentence_has_no_finding(tmp_path):
    make(tmp_path, prompts=f'image,prompt\nalpha.png,"{BOTH}"\n')
    alpha, bravo = read_records(tmp_path)
    assert alpha.finding is not None
    assert (bravo.prompt, bravo.finding, bravo.bilateral, bravo.patient) == ("", None, None, "")


def test_files_that_are_no_pictures_are_passed_over(tmp_path):
    make(tmp_path)
    for name in ("Thumbs.db", "notes.txt"):
        (tmp_path / "images" / name).touch()
    assert [record.name for record in read_records(tmp_path)] == ["alpha", "bravo"]


def test_only_the_rows_of_a_split_are_read(tmp_path):
    names = ("alpha.png", "bravo.png", "charlie.png")
    make(
        tmp_path,
        names,
        prompts="image,prompt,split,fold\nalpha.png,,train,a\nbravo.png,,valid,b\ncharlie.png,,train,b\n",
    )
    assert [record.name for record in read_records(tmp_path, "train")] == ["alpha", "charlie"]
    assert [record.name for record in read_records(tmp_path, "b", "fold")] == ["bravo", "charlie"]
    assert len(read_records(tmp_path)) == 3


def test_masks_are_needed_only_for_the_split_that_is_read(tmp_path):
    make(tmp_path, prompts="image,prompt,split\nalpha.png,,train\nbravo.png,,test\n")
    (tmp_path / "masks" / "bravo.png").unlink()
    assert [record.name for record in read_records(tmp_path, "train")] == ["alpha"]
    with pytest.raises(DataError, match=r"no mask for bravo \(1 in all\)"):
        read_records(tmp_path)


def test_labels_give_the_columns_that_prompts_lack(tmp_path):
    make(
        tmp_path,
        prompts=f'image,prompt\nalpha.png,"{BOTH}"\nbravo.png,\n',
        labels=f'image,split,patient,laterality,prompt\nalpha.png,valid,p1,picture,x\nbravo.png,valid,p2,,"{BOTH}"\n',
    )
    alpha, bravo = read_records(tmp_path, "valid")
    assert (alpha.prompt, alpha.patient) == (BOTH, "p1")
    assert alpha.finding == Finding(left=("lower",), right=("upper",), count=2)  # sides of the picture
    assert (bravo.prompt, bravo.patient) == ("", "p2")


def test_labels_alone_are_enough(tmp_path):
    make(tmp_path, labels=f'image,prompt,split\nalpha.png,"{BOTH}",train\n')
    assert [record.prompt for record in read_records(tmp_path, "train")] == [BOTH]


def test_a_rows_own_laterality_beats_the_option(tmp_path):
    lateralities = {"alpha": "patient", "bravo": "picture", "charlie": ""}
    rows = [f'{name},"{LEFT_LOWER}",{whose}' for name, whose in lateralities.items()]
    make(tmp_path, tuple(f"{name}.png" for name in lateralities), prompts="\n".join(["image,prompt,laterality", *rows]))
    left, right = Finding(left=("lower",), count=1), Finding(right=("lower",), count=1)
    assert [record.finding for record in read_records(tmp_path, laterality="patient")] == [left, right, left]
    assert [record.finding for record in read_records(tmp_path, laterality="picture")] == [left, right, right]


def test_an_unreadable_sentence_is_refused(tmp_path):
    make(tmp_path, prompts="image,prompt\nalpha.png,tumour of the breast\n")
    with pytest.raises(PromptError, match="tumour of the breast"):
        read_records(tmp_path)


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_missing_folder_is_named(tmp_path, missing):
    make(tmp_path / "mine").joinpath(missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"mine has no folder {missing}/"):
        read_records(tmp_path / "mine")


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"images/ holds no picture"):
        read_records(make(tmp_path, ()))


def test_a_missing_split_is_named(tmp_path):
    make(tmp_path, prompts="image,prompt,split\nalpha.png,,train\n")
    with pytest.raises(DataError, match=r"no column `fold`.*--split-column"):
        read_records(tmp_path, "train", "fold")
    with pytest.raises(DataError, match="no picture whose `split` is 'Train'"):
        read_records(tmp_path, "Train")


def test_two_files_of_one_stem_are_refused(tmp_path):
    make(tmp_path, ("alpha.png", "alpha.jpg"))
    with pytest.raises(DataError, match=r"images/ holds alpha\.jpg and alpha\.png: rename one"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("picture,prompt\nalpha.png,x\n", "no column `image`"),
        ("", "no column `image`"),
        ("image,prompt\nalpha.png,a\nalpha,b\n", "lines 2 and 3: alpha is named twice"),
        ('image,prompt\nalpha.png,"never closed\n', "cannot be read at line 2"),
        ("image,prompt,laterality\nalpha.png,a,viewer\n", "line 2: laterality is patient or picture, not 'viewer'"),
        ("image,prompt,modality\nalpha.png,a,mri\n", "line 2: modality is xray or ct, not 'mri'"),
    ],
)
def test_a_bad_table_is_refused_with_file_and_fault(tmp_path, text, fault):
    make(tmp_path, prompts=text)
    with pytest.raises(DataError, match=rf"prompts\.csv.*{fault}"):
        read_records(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (make(tmp_path) / "prompts.csv").write_bytes("image,prompt\nalpha.png,L\u00fcnge\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"prompts\.csv.*Save it as CSV UTF-8"):
        read_records(tmp_path)


def test_a_table_saved_by_excel_is_read(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_bytes(f'image,prompt,patient\r\n alpha.png ,"{BOTH}", p1 \r\n'.encode("utf-8-sig"))
    rows = read_prompts(path)
    assert list(rows) == ["alpha"]
    assert (rows["alpha"].prompt, rows["alpha"].patient) == (BOTH, "p1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.png", "a.b"), ("ct.nii.gz", "ct"), ("CT.NII.GZ", "CT"), ("chest", "chest"), ("scan.v2", "scan.v2")],
)
def test_a_pictures_id_is_its_name_without_a_pictures_suffix(name, expected):
    assert picture_id(name) == expected


@pytest.mark.parametrize("inner", ["", "qata/"])
def test_a_zip_is_read_as_the_folder_that_it_holds(tmp_path, inner):
    source = make(tmp_path / "source", prompts=f'image,prompt\nalpha.png,"{BOTH}"\n')
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(source.rglob("*.*")):
            archive.write(path, inner + path.relative_to(source).as_posix())
    with data_folder(tmp_path / "set.zip") as folder:
        records = read_records(folder)
        assert [record.prompt for record in records] == [BOTH, ""]
        assert all(record.image.is_file() and record.mask.is_file() for record in records)
    assert not folder.exists()  # unpacked for the time of the `with`


def test_a_folder_is_used_where_it_lies(tmp_path):
    with data_folder(tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.is_dir()


def test_what_is_neither_a_folder_nor_a_sound_zip_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no data")
    for name in ("notes.txt", "gone"):
        with pytest.raises(DataError, match=f"{name} is neither a folder nor a zip"), data_folder(tmp_path / name):
            pass
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/alpha.png", bytes(range(256)) * 40)
    content = bytearray((tmp_path / "set.zip").read_bytes())
    content[60:120] = bytes(60)
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.zip is a damaged zip.*again"), data_folder(tmp_path / "set.zip"):
        pass


def test_a_prompts_table_without_prompts_is_refused(tmp_path):
    (tmp_path / "prompts.csv").write_text("image,sentence\na.png,infection\n")
    with pytest.raises(DataError, match="no column `prompt`"):
        read_prompts(tmp_path / "prompts.csv")
