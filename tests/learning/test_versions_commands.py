"""`textseg versions` and `textseg rollback` as their users see them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from learnt import DAMAGE, SPEC, report, weights_of, whole

from textseg.cli import main
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL


@pytest.fixture
def app(folder: Path, versions: Versions) -> Path:
    """An app's folder: v0001 rolled back to from v0002 and v0003, v0004 rejected, v0001 with figures."""
    gate = report("Better than v0000.", dice={"candidate": 0.81234, "served": 0.8, "pictures": "no number"})
    (folder / "v0001" / "gate.json").write_text(json.dumps(gate))
    versions.reject(report("Worse than v0003 on the reference set."))
    versions.rollback("v0001")
    return folder.parents[1]


def test_versions_are_listed_as_json_alone_without_torch(app: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom textseg.cli import main\n"
        f"code = main(['versions', {SPEC.name!r}, '--app', {str(app)!r}, '--json'])\n"
        "print(sorted({'torch', 'monai', 'monailabel'} & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    told = json.loads(done.stdout)
    assert (told["model"], told["served"], told["why"], told["told"]) == (SPEC.name, "v0001", "rolled back", [])
    states = {version["version"]: version["state"] for version in told["versions"]}
    assert states == {"v0001": "serves", "v0002": "rolled back from", "v0003": "rolled back from"}
    assert told["versions"][0]["dice"] == "candidate 0.8123, served 0.8000"
    assert [verdict["accepted"] for verdict in told["verdicts"]] == [True, True, True, False]


def test_people_read_candidates_in_order_with_what_became_of_them(app: Path, capsys: pytest.CaptureFixture) -> None:
    DAMAGE["cut off"][0](weights_of(app / "model" / SPEC.name, "v0003"))
    shutil.rmtree(app / "model" / SPEC.name / "v0002")
    assert main(["versions", SPEC.name, "--app", str(app)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{SPEC.name}: v0001 serves, rolled back 20")
    assert [line.split()[0] for line in lines[1:] if line.startswith("v")] == [f"v000{n}" for n in range(5)]
    text = "\n".join(lines)
    for state in ("serves\n", "not here\n", "cannot serve\n", "rejected\n"):
        assert text.count(f"  {state}") == 1
    assert "  candidate 0.8123, served 0.8000\n       Better than v0000.\n" in text
    assert "is not the file that its manifest describes" in text
    assert text.endswith("Worse than v0003 on the reference set.")


def test_what_serves_in_a_damaged_ones_place_is_told(app: Path, capsys: pytest.CaptureFixture) -> None:
    DAMAGE["no manifest"][0](weights_of(app / "model" / SPEC.name, "v0001"))
    assert main(["versions", SPEC.name, "--app", str(app)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{SPEC.name}: v0000 serves")
    assert f"v0001 of {SPEC.name} cannot be served." in out and "v0000 serves in its place." in out


def test_rollback_goes_one_back_or_to_the_named_one(app: Path, capsys: pytest.CaptureFixture) -> None:
    versions = Versions(app / "model" / SPEC.name, SPEC)
    for arguments, expected in (
        (["--to", "v0003"], "v0003"),
        ([], "v0001"),  # v0002 was rolled back from
        ([], "v0000"),
    ):
        assert main(["rollback", SPEC.name, *arguments, "--app", str(app)]) == 0
        assert capsys.readouterr().out == f"{SPEC.name}: {expected} serves\n"
        assert whole(versions).version == expected


def test_old_versions_are_deleted_where_that_is_asked(app: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["versions", SPEC.name, "--app", str(app), "--keep", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["deleted"] == ["v0002"]
    assert [version["version"] for version in told["versions"]] == ["v0001", "v0003"]
    assert len(told["verdicts"]) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rollback", SPEC.name, "--to", "v0009"], 2, "There are: v0000, v0001, v0002, v0003."),
        (["rollback", "unet"], 2, "There is no model 'unet'"),
        (["rollback", "tgcam"], 3, "textseg train tgcam"),
        (["rollback", SPEC.name, "--to", "v0000", "--weights", "gone"], 2, "no weights file gone"),
        (["versions", "--keep", "-1"], 2, "Give 0 or more"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(
    app: Path, capsys: pytest.CaptureFixture, arguments: list[str], code: int, said: str
) -> None:
    assert main([*arguments, "--app", str(app)]) == code
    output = capsys.readouterr()
    assert output.out == "" and said in output.err


def test_an_app_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["versions"]) == 2
    assert "There is no folder apps/textseg." in capsys.readouterr().err
    (tmp_path / "apps" / "textseg").mkdir(parents=True)
    assert main(["versions"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{DEFAULT_MODEL}: v0000 serves"
    assert main(["versions", "tgcam"]) == 0
    assert capsys.readouterr().out.startswith("tgcam: nothing serves\n  The model tgcam has no weights")
