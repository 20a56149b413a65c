"""prompts.csv as people make it: whatever program wrote it, the same rows are read; nothing in it is guessed."""

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textseg.data.prompts_table import PromptsTable, read_lines, read_prompts
from textseg.errors import DataError

MANY = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from(',;\t"\n'), max_size=25)
IDS = st.text("abcdefghij_-. äé", min_size=1, max_size=8).map(str.strip).filter(lambda name: name.strip(". "))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


def written(rows: list[list[str]], delimiter: str, encoding: str, end: str, quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    """A table as a program writes it."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return text.getvalue().encode(encoding)


def table(folder: Path, content: bytes | str) -> Path:
    path = folder / "prompts.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@MANY
@given(
    rows=st.dictionaries(IDS, CELLS, min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    names=st.sampled_from([("image", "prompt"), ("Image", "Description"), ("IMAGE", " Prompt ")]),
    told=st.booleans(),
    empty=st.integers(0, 2),
)
def test_whatever_program_wrote_it_the_same_rows_are_read(
    tmp_path, rows, delimiter, encoding, end, quoting, names, told, empty
):
    lines = [[*names, *[""] * empty], *([f"{image}.png", prompt, *[""] * empty] for image, prompt in rows.items())]
    content = written(lines, delimiter, encoding, end, quoting)
    if told and encoding == "utf-8":
        content = f"sep={delimiter}{end}".encode() + content
    read = read_lines(table(tmp_path, content))
    assert [(line.id, line.row.prompt, line.fault) for line in read] == [
        (image, prompt.strip(), "") for image, prompt in rows.items()
    ]


@MANY
@given(
    st.binary(max_size=200) | st.text(max_size=120).map(lambda text: f"image,prompt\n{text}".encode("utf-8", "replace"))
)
def test_no_content_does_more_than_be_refused(tmp_path, content):
    try:
        lines = read_lines(table(tmp_path, content))
    except DataError as error:
        assert str(error).startswith("prompts.csv ")
    else:
        assert all(line.image or line.fault for line in lines)


def test_a_bad_line_is_told_with_its_number_and_costs_the_others_nothing(tmp_path):
    path = table(
        tmp_path,
        "Image;Description;laterality\n"
        "a.png;left lung;\n"
        ";right lung;\n"
        "b.png;left lung; upper;and lower\n"
        "c;first;\n"
        "\n"
        'd.png;"two\nlines";picture\n'
        "c.png;second;\n"
        "e.png;left lung;viewer\n"
        "f.png\n",
    )
    lines = {line.number: line for line in read_lines(path)}
    assert [lines[number].id for number in (2, 8, 11)] == ["a", "d", "f"]
    assert [lines[number].fault for number in (2, 8, 11)] == ["", "", ""]
    assert lines[8].row.prompt == "two\nlines" and lines[11].row.prompt == ""
    assert "line 3 names no picture" in lines[3].fault
    assert "line 4 has more cells" in lines[4].fault and "quotes" in lines[4].fault
    assert lines[5].fault == lines[9].fault == "lines 5 and 9: c is named twice. Keep one row for a picture."
    assert "line 10: laterality is patient or picture" in lines[10].fault
    with pytest.raises(DataError, match="line 3 names no picture"):
        read_prompts(path)


def test_a_stray_quote_is_told_with_its_line_and_its_remedy(tmp_path):
    path = table(tmp_path, 'image,prompt\na.png,left lung\nb.png,"GGO" in left lower lobe\n')
    with pytest.raises(DataError, match=r"cannot be read at line 3 .*quotes in it begins and ends with one"):
        read_lines(path)
    table(tmp_path, 'image,prompt\na.png,left lung\nb.png,"""GGO"" in left lower lobe"\n')
    assert read_lines(path)[1].row.prompt == '"GGO" in left lower lobe'


def test_a_server_uses_every_row_that_can_be_used(tmp_path, caplog):
    known = PromptsTable(tmp_path)
    assert known.row("a") is None and known.prompted() == set()
    table(tmp_path, "image,prompt\na.png,left lung\nb.png,secret words,more\nc.png,\n")
    assert known.row("a").prompt == "left lung" and known.row("gone") is None
    with pytest.raises(DataError, match="line 3 has more cells"):
        known.row("b")
    assert known.prompted() == {"a"}
    assert "these lines cannot be used: 3" in caplog.text and "secret" not in caplog.text
    path = table(tmp_path, "image,prompt\nb.png,right lung\n")
    os.utime(path, ns=(1, 1))
    assert known.row("b").prompt == "right lung" and known.prompted() == {"b"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image;prompt;Description\na;one;two\n", ""),
        ("image,Image,prompt\na,b,c\n", "two columns `image`"),
        ("image,description,Description\na,b,c\n", "two columns `prompt`"),
        ("image|prompt\na|b\n", "no column `image`"),
        ("bild;text\na;b\n", "no column `image`"),
        ("Image,Findings\na,b\n", "no column `prompt`"),
    ],
)
def test_which_column_is_meant_is_never_guessed(tmp_path, text, fault):
    path = table(tmp_path, text)
    if fault:
        with pytest.raises(DataError, match=fault):
            read_lines(path)
    else:
        (line,) = read_lines(path)
        assert line.row.prompt == "one" and line.row.columns["Description"] == "two"


def test_the_row_numbers_that_a_program_puts_in_front_change_nothing(tmp_path):
    (line,) = read_lines(table(tmp_path, ",image,prompt\n0,a.png,left lung\n"))
    assert (line.id, line.row.prompt, line.fault) == ("a", "left lung", "")
