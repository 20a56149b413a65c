"""Report English: tables of prompts written by hand, hints, refusals, and the reader against the paraphrases."""

import csv
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textseg.errors import PromptError
from textseg.text.finding import ZONES, Finding
from textseg.text.paraphrase import paraphrase
from textseg.text.prompt import read_prompt
from textseg.text.sentence import canonical, picture_sentence

HERE = Path(__file__).parent
TABLES = ("prompts_by_hand.csv", "prompts_held_out.csv", "prompts_final.csv", "prompts_fourth.csv")
SUBSETS = [
    tuple(zone for zone, named in zip(ZONES, bits, strict=True) if named)
    for bits in itertools.product((0, 1), repeat=3)
]
findings = st.builds(
    lambda left, right, denied: Finding(
        left=left, right=right, absent_left=denied == "left" and not left, absent_right=denied == "right" and not right
    ),
    st.sampled_from(SUBSETS),
    st.sampled_from(SUBSETS),
    st.sampled_from(["left", "right", ""]),
)


def finding_of(prompt: str) -> Finding | None:
    try:
        return read_prompt(prompt).finding
    except PromptError:
        return None


def rows(table: str) -> list[dict[str, str]]:
    with (HERE / table).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def zones(cell: str) -> tuple[str, ...]:
    return tuple(zone for zone in cell.split("+") if zone)


@pytest.mark.parametrize("table", TABLES)
def test_prompts_written_by_hand_are_understood(table):
    read = [(row, finding_of(row["prompt"])) for row in rows(table)]
    usable = [(row, finding) for row, finding in read if row["understood"] == "yes"]
    understood = [(row, finding) for row, finding in usable if finding]
    sides = [
        (bool(found.left), bool(found.right)) == (row["left"] > "", row["right"] > "") for row, found in understood
    ]
    places = [(finding.left, finding.right) == (zones(row["left"]), zones(row["right"])) for row, finding in understood]
    denials = [
        [str(flag) for flag in (finding.absent, finding.absent_left, finding.absent_right)]
        == [str(row[key] == "yes") for key in ("absent", "absent_left", "absent_right")]
        for row, finding in understood
        if "yes" in (row["absent"], row["absent_left"], row["absent_right"])
    ]
    refused = [finding is None for row, finding in read if row["understood"] == "no"]
    assert len(understood) >= 0.9 * len(usable)
    assert sum(sides) >= 0.98 * len(sides)
    assert sum(places) >= 0.9 * len(places)
    assert sum(denials) >= 0.95 * len(denials)
    assert sum(refused) >= 0.9 * len(refused)


def short(finding: Finding | None) -> str:
    """As the adversarial table writes a reading: Lul R* are zones, none an empty mask, any anywhere, ref a refusal."""
    if finding is None:
        return "ref"
    if finding.nothing:
        return "none"
    if finding.anywhere:
        return "any"
    sides = {"L": finding.located().left, "R": finding.located().right}
    return " ".join(
        side + ("*" if named == ZONES else "".join(zone[0] for zone in named)) for side, named in sides.items() if named
    )


def test_most_prompts_written_against_the_reader_are_read_right():
    lines = (HERE / "prompts_adversarial.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines]
    right = [
        short(finding_of(prompt.replace("\\n", "\n"))) in [answer(wanted) for wanted in expected.split("|")]
        for expected, prompt in pairs
    ]
    assert len(pairs) > 900
    assert sum(right) >= 0.88 * len(right)


def answer(wanted: str) -> str:
    """One of the table's answers in the order in which `short` writes."""
    return " ".join(sorted(wanted.split()))


@pytest.mark.parametrize(
    ("prompt", "reading"),
    [
        ("Lungs clear except left base consolidation.", "Ll"),
        ("The right lung is clear except for patchy opacity at the base.", "Rl"),
        ("In the right lung there is patchy opacity at the base", "Rl"),
        ("RLL consolidation left lung clear no effusion", "Rl"),
        ("RIGHT LUNG CLEAR LEFT LOWER LOBE PNEUMONIA NO EFFUSION", "Ll"),
        ("RLL consolidation. Left lung - clear.", "Rl"),
        ("RUL - normal; RML - normal; RLL - GGO; LUL - normal; LLL - normal", "Rl"),
        ("Infection: none", "none"),
        ("?LLL pneumonia. Clear lungs.", "none"),
        ("No consolidation in the upper, middle or lower zones.", "none"),
        ("No pneumonia, both lungs", "none"),
        ("RLL consolidation. LUL, lingula and LLL are clear.", "Rl"),
        ("Right lower lobe consolidation. The left lung, heart and mediastinum are normal.", "Rl"),
        ("Left lung is now clear. Right lower lobe consolidation persists.", "Rl"),
        ("Interval resolution of left lower lobe pneumonia with persistent right basal opacity.", "Rl"),
        ("Bilateral patchy airspace opacities. CP angles clear.", "L* R*"),
        ("Bilateral pneumonia. Hila are normal.", "L* R*"),
        ("Right lower lobe pneumonia. Left hilum is enlarged.", "Rl"),
        ("Right basal opacity is atelectasis, not pneumonia.", "none"),
        ("The prior study showed left upper lobe pneumonia. Today there is right lower lobe consolidation only.", "Rl"),
        ("LLL pneumonia worse than RLL pneumonia", "Ll Rl"),
        ("consolidation in the upper lobes and right lower lobe", "Lu Rul"),
        ("right lower lobe sorry left lower lobe consolidation", "Ll"),
        ("left kidney infection", "ref"),
        ("Pneumonie rechts basal", "ref"),
        ("irght lower lobe pneumonia", "Rl"),
    ],
)
def test_readings_that_would_be_dangerous_if_they_were_wrong(prompt, reading):
    assert short(finding_of(prompt)) == reading


@given(findings, st.integers(0, 10_000))
def test_a_paraphrase_is_read_as_the_finding_that_it_words(finding, seed):
    assert read_prompt(paraphrase(finding, seed)).finding == finding
    assert paraphrase(finding, seed) == paraphrase(finding, seed)


@given(st.integers(0, 10_000))
def test_a_paraphrased_denial_denies_everything(seed):
    assert read_prompt(paraphrase(Finding(absent=True), seed)).finding == Finding(absent=True)


@given(findings.filter(lambda finding: not finding.absent_left and not finding.absent_right), st.integers(1, 12))
def test_the_networks_sentence_names_the_other_side_of_the_patient(finding, count):
    finding = Finding(finding.left, finding.right, count=None if finding.anywhere else count)
    assert read_prompt(picture_sentence(finding), "picture").finding == finding
    assert read_prompt(canonical(finding)).finding == finding


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("Konsolidierung im rechten Unterlappen", "another language"),
        ("opacité du lobe inférieur droit", "another language"),
        ("右下肺炎", "another language"),
        ("fracture of the left sixth rib", "do not know fracture, rib; they segment infection"),
        ("small left pleural effusion", "do not know pleural, effusion"),
        ("NG tube in situ", "do not know tube"),
        ("no consolidation in the right lower lobe", "denies something in a part of a lung"),
        ("consolidation on the left of the image", "names a side of the picture"),
        ("asdf qwer", "was not understood"),
        ("lwoer zoone infiltratoin???", None),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_words_and_what_to_do(prompt, said):
    if said is None:
        assert read_prompt(prompt).finding == Finding(("lower",), ("lower",), certainty="possible")
        return
    with pytest.raises(PromptError) as refused:
        read_prompt(prompt)
    assert said in str(refused.value)
    assert prompt in str(refused.value)


def test_sides_of_the_picture_are_read_where_they_are_asked_for():
    assert read_prompt("consolidation on the left of the image", "picture").finding.right


def test_a_model_that_reads_the_text_itself_is_refused_nothing_but_bad_text():
    reading = read_prompt("polyp at the splenic flexure", spoken="patient")
    assert (reading.finding, reading.words, reading.warnings) == (None, "polyp at the splenic flexure", ())
    with pytest.raises(PromptError):
        read_prompt("polyp\x00", spoken="patient")


@pytest.mark.parametrize(
    ("prompt", "certainty"),
    [
        ("possible early consolidation at the left base", "possible"),
        ("?LLL consolidation", "possible"),
        ("cannot exclude LLL pneumonia", "possible"),
        ("probable LLL pneumonia", "probable"),
        ("LLL pneumonia", "definite"),
    ],
)
def test_hedges_are_kept_and_marked(prompt, certainty):
    assert read_prompt(prompt).finding == Finding(left=("lower",), certainty=certainty)


def test_clinical_notes_never_name_the_wrong_lung(shared):
    with (shared / "data" / "cxr_gb100" / "labels.csv").open(newline="", encoding="utf-8") as lines:
        notes = [(row["clinical_notes"], row["zones_UL_ML_LL_UR_MR_LR_patientside"]) for row in csv.DictReader(lines)]
    for note, bits in notes:
        finding = finding_of(note[:2000])
        if finding and bool(finding.left) != bool(finding.right) and "1" in bits:
            marked = bits[:3] if finding.left else bits[3:]
            assert "1" in marked, note


@pytest.mark.parametrize(
    ("prompt", "left", "right"),
    [
        ("RLL>LLL consolidation", ("lower",), ("lower",)),
        ("consolidation in the upper, middle and lower zones of the right lung", (), ZONES),
        ("bilateral opacities sparing the apices", ("middle", "lower"), ("middle", "lower")),
        ("bilateral consolidation except the right upper lobe", ZONES, ("middle", "lower")),
        ("extensive right upper lobe consolidation", (), ("upper",)),
        ("apical segment of the right lower lobe: consolidation", (), ("lower",)),
        ("Right hip replacement, left hemiparesis. Patchy opacity in the right base.", (), ("lower",)),
        ("Left lower lobe atelectasis versus pneumonia", ("lower",), ()),
        ("lower lobe consolidation on the left, small right effusion", ("lower",), ()),
    ],
)
def test_places_are_read_as_people_write_them(prompt, left, right):
    finding = read_prompt(prompt).finding
    assert (finding.left, finding.right) == (left, right)
