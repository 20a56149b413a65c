"""The prompts that users copy are understood as they stand, and mirror what the server offers."""

import csv
from pathlib import Path

import pytest

from textseg.data.prompts_table import read_prompts
from textseg.text.presets import PRESETS
from textseg.text.prompt import read_prompt

SAMPLES = Path(__file__).parents[2] / "sample_prompts"


@pytest.mark.parametrize("name", ["xray.csv", "ct.csv", "denials.csv"])
def test_every_sample_prompt_is_understood(name):
    for row in read_prompts(SAMPLES / name).values():
        if row.prompt:
            assert read_prompt(row.prompt, row.laterality or "patient").finding.unread == ()


def test_denials_leave_out_what_they_deny():
    rows = {name: read_prompt(row.prompt).finding for name, row in read_prompts(SAMPLES / "denials.csv").items()}
    assert all(finding.nothing for name, finding in rows.items() if name.startswith("healthy"))
    assert rows["one_side_a"].absent_left and rows["one_side_b"].absent_right
    assert "upper" not in rows["part"].left + rows["part"].right


def test_the_presets_are_those_that_the_server_offers():
    with (SAMPLES / "presets.csv").open(newline="", encoding="utf-8") as lines:
        assert tuple(row["prompt"] for row in csv.DictReader(lines)) == PRESETS


@pytest.mark.parametrize(
    "line", [line.strip() for line in (SAMPLES / "README.md").read_text().splitlines() if line.startswith("    ")]
)
def test_the_examples_of_the_wording_guide_are_understood(line):
    assert read_prompt(line).finding.unread == ()
