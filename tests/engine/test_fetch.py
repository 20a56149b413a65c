"""`textseg fetch` against an imitation of a hub on this machine; a real one cannot be reached by the tests."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_imitation import Hub, tag_of
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st

from textseg.cli import main
from textseg.engine.fetch import fetch
from textseg.engine.pretrained import PRETRAINED, RECORD, find_pretrained, pretrained_folder
from textseg.errors import OptionError, WeightsMissing

NAME, OLD, NEW = "cxr-bert", "a" * 40, "b" * 40
SIZE = 60_000
FILES = {
    "config.json": b'{"model_type": "cxr-bert"}',
    "vocab.txt": "[PAD]\n[UNK]\nünï\n".encode(),
    "pytorch_model.bin": random.Random(1).randbytes(SIZE),
}
OTHER = {**FILES, "pytorch_model.bin": random.Random(2).randbytes(SIZE)}


@pytest.fixture
def hub():
    with Hub(PRETRAINED[NAME].repository, {OLD: FILES, NEW: OTHER}, OLD) as imitation:
        yield imitation


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Small pieces, no pauses between retries, and no settings of this machine."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("TEXTSEG_PRETRAINED", raising=False)


def contents(place: Path) -> dict[str, bytes]:
    return {file: (place / file).read_bytes() for file in FILES if (place / file).is_file()}


def record(place: Path) -> dict:
    return json.loads((place / RECORD).read_text())


def textseg(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "textseg.cli", *map(str, arguments)]


@contextmanager
def said(*parts: object):
    """A WeightsMissing that names all of these."""
    with pytest.raises(WeightsMissing) as refusal:
        yield
    for part in parts:
        assert str(part) in str(refusal.value)


def test_a_fetch_brings_all_files_as_files_and_pins_what_the_hub_told(hub, tmp_path):
    done = fetch(NAME, tmp_path, hub.endpoint)
    place = tmp_path / NAME
    assert (done.folder, done.commit, done.downloaded) == (place, OLD, tuple(FILES))
    assert contents(place) == FILES and find_pretrained(NAME, tmp_path) == place
    assert not any(path.is_symlink() for path in place.iterdir())
    assert {path.name for path in place.iterdir()} == {*FILES, RECORD, ".lock"}
    told = record(place)
    assert (told["commit"], told["licence"], told["repository"]) == (OLD, "MIT", hub.repository)
    assert {name: pin["tag"] for name, pin in told["files"].items()} == {n: tag_of(n, d) for n, d in FILES.items()}


def test_a_fetch_sends_no_token_and_asks_for_nothing_but_the_files(hub, tmp_path):
    fetch(NAME, tmp_path, hub.endpoint)
    for request in hub.sent:
        assert request.path.startswith((f"/{hub.repository}/resolve/", "/elsewhere/")), request.path
        headers = {key.lower(): value for key, value in request.headers.items()}
        assert "authorization" not in headers and "torch" not in headers["user-agent"]
    assert {Path(request.path).name for request in hub.sent} == {*FILES, "model.safetensors"}  # it asks which there is


def test_safetensors_are_preferred_where_a_hub_has_both(hub, tmp_path):
    hub.commits[OLD] = {**FILES, "model.safetensors": b"safe"}
    assert fetch(NAME, tmp_path, hub.endpoint).downloaded == ("config.json", "vocab.txt", "model.safetensors")


def test_the_command_prints_licence_and_result_and_a_second_time_that_there_was_nothing_to_do(hub, tmp_path):
    command = textseg("fetch", NAME, "--to", tmp_path, "--endpoint", hub.endpoint)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    licence, result = done.stdout.splitlines()
    assert "licence MIT" in licence and "huggingface.co/microsoft" in licence
    assert all(file in result for file in FILES) and OLD in result
    asked = len(hub.sent)
    assert main(command[3:]) == 0
    assert len(hub.sent) == asked


def test_a_finished_fetch_needs_no_hub_and_says_so(hub, tmp_path, capsys):
    arguments = ["fetch", NAME, "--to", str(tmp_path), "--json"]
    assert main([*arguments, "--endpoint", hub.endpoint]) == 0
    assert json.loads(capsys.readouterr().out)[0]["fetched"] == list(FILES)
    assert main([*arguments, "--endpoint", "http://127.0.0.1:9"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["fetched"] == []
    main(arguments[:-1])
    assert "here already and unaltered" in capsys.readouterr().out


def test_a_fetch_that_was_killed_goes_on_where_it_was(tmp_path):
    whole = {**FILES, "pytorch_model.bin": random.Random(3).randbytes(24 << 20)}
    with Hub(PRETRAINED[NAME].repository, {OLD: whole}, OLD, cut={"pytorch_model.bin": 15 << 20}) as hub:
        hub.stalled = threading.Event()
        command = textseg("fetch", NAME, "--to", tmp_path, "--endpoint", hub.endpoint)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        part = tmp_path / NAME / "pytorch_model.bin.part"
        assert hub.stalled.wait(30) and until(lambda: part.is_file() and part.stat().st_size == 10 << 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with said("lacks pytorch_model.bin", f"textseg fetch {NAME}"):
            find_pretrained(NAME, tmp_path)
        hub.cut.clear()
        hub.sent.clear()
        assert fetch(NAME, tmp_path, hub.endpoint).downloaded == ("pytorch_model.bin",)
        assert hub.bodies("pytorch_model.bin") == [14 << 20]
    assert (tmp_path / NAME / "pytorch_model.bin").read_bytes() == whole["pytorch_model.bin"]


def until(reached) -> bool:
    waiting = threading.Event()
    return any(reached() or waiting.wait(0.02) for _ in range(1000))


def test_an_interrupt_by_hand_is_told_without_a_traceback(hub, tmp_path, monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("textseg.engine.fetch.http_get", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["fetch", NAME, "--to", str(tmp_path), "--endpoint", hub.endpoint])
    assert ended.value.code == 130
    assert "goes on from there" in capsys.readouterr().err


@settings(max_examples=8)
@given(st.lists(st.integers(0, SIZE - 1), max_size=4), st.booleans())
def test_however_often_a_line_breaks_the_bytes_come_right_and_none_comes_twice(cuts, ranges):
    with (
        tempfile.TemporaryDirectory() as folder,
        Hub(PRETRAINED[NAME].repository, {OLD: FILES}, OLD) as hub,
    ):
        for cut in cuts:
            hub.cut["pytorch_model.bin"] = cut
            with said("Run textseg fetch", "goes on there"):
                fetch(NAME, Path(folder), hub.endpoint)
        part = Path(folder) / NAME / "pytorch_model.bin.part"
        kept = part.stat().st_size if part.is_file() else 0
        assert kept > max(cuts, default=0) - 1000
        hub.ranges = ranges  # without them the file has to come as a whole
        hub.cut.clear()
        hub.sent.clear()
        fetch(NAME, Path(folder), hub.endpoint)
        assert hub.bodies("pytorch_model.bin") == [SIZE - kept if ranges else SIZE]
        assert contents(Path(folder) / NAME) == FILES


def test_a_line_that_breaks_once_is_mended_within_the_same_fetch(hub, tmp_path, monkeypatch):
    hub.cut["pytorch_model.bin"] = 20_000
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: hub.cut.clear())
    fetch(NAME, tmp_path, hub.endpoint)
    assert contents(tmp_path / NAME) == FILES and hub.bodies("pytorch_model.bin") == [20_000, 40_000]


def test_two_fetches_at_once_download_once(hub, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: fetch(NAME, tmp_path, hub.endpoint), range(2)))
    assert sorted(each.downloaded for each in done) == [(), tuple(FILES)]
    assert hub.bodies("pytorch_model.bin") == [SIZE] and contents(tmp_path / NAME) == FILES


@pytest.mark.parametrize("wrong", [b"short", OTHER["pytorch_model.bin"], FILES["pytorch_model.bin"] + b"more"])
def test_wrong_bytes_are_thrown_away_and_told(hub, tmp_path, wrong):
    hub.lies["pytorch_model.bin"] = wrong
    with said("pytorch_model.bin", "not the hash", f"textseg fetch {NAME}"):
        fetch(NAME, tmp_path, hub.endpoint)
    assert [path.name for path in (tmp_path / NAME).glob("pytorch_model*")] == []
    with said("lacks pytorch_model.bin"):
        find_pretrained(NAME, tmp_path)
    hub.lies.clear()
    fetch(NAME, tmp_path, hub.endpoint)
    assert contents(tmp_path / NAME) == FILES


def test_a_wrong_small_file_is_refused_too(hub, tmp_path):
    hub.lies["vocab.txt"] = FILES["vocab.txt"].replace(b"UNK", b"unk")
    with said("vocab.txt", "not the hash"):
        fetch(NAME, tmp_path, hub.endpoint)
    assert set(contents(tmp_path / NAME)) == {"config.json"}


def test_later_fetches_ask_for_the_commit_of_the_first(hub, tmp_path):
    fetch(NAME, tmp_path, hub.endpoint)
    (tmp_path / NAME / "pytorch_model.bin").unlink()
    hub.main = NEW
    hub.sent.clear()
    assert fetch(NAME, tmp_path, hub.endpoint).commit == OLD
    assert contents(tmp_path / NAME) == FILES
    assert hub.sent and all(f"/{OLD}/" in request.path for request in hub.sent)


def test_the_commit_is_pinned_before_the_first_byte_comes(hub, tmp_path):
    hub.cut["config.json"] = 0
    with said("config.json"):
        fetch(NAME, tmp_path, hub.endpoint)
    assert contents(tmp_path / NAME) == {}
    hub.main = NEW
    hub.cut.clear()
    assert fetch(NAME, tmp_path, hub.endpoint).commit == OLD
    assert contents(tmp_path / NAME) == FILES


def test_all_files_come_from_one_commit_though_the_branch_moves_meanwhile(hub, tmp_path, monkeypatch):
    class Moving(dict):
        def get(self, key, default=None):
            hub.main = NEW
            return super().get(key, default)

    hub.commits = Moving(hub.commits)
    assert fetch(NAME, tmp_path, hub.endpoint).commit == OLD
    assert contents(tmp_path / NAME) == FILES


def test_another_hash_of_the_pinned_commit_is_told_and_nothing_comes(hub, tmp_path):
    fetch(NAME, tmp_path, hub.endpoint)
    (tmp_path / NAME / "pytorch_model.bin").unlink()
    hub.commits[OLD] = OTHER
    hub.sent.clear()
    with said("another hash", "pytorch_model.bin", OLD, RECORD):
        fetch(NAME, tmp_path, hub.endpoint)
    assert hub.bodies("pytorch_model.bin") == []


@pytest.mark.parametrize("file", FILES)
def test_an_altered_file_is_told_and_left_as_it_is(hub, tmp_path, file):
    fetch(NAME, tmp_path, hub.endpoint)
    path = tmp_path / NAME / file
    altered = path.read_bytes()[::-1]
    path.write_bytes(altered)
    hub.sent.clear()
    for attempt in (lambda: find_pretrained(NAME, tmp_path), lambda: fetch(NAME, tmp_path, hub.endpoint)):
        with said(path, "size or hash differ", f"textseg fetch {NAME}"):
            attempt()
    assert path.read_bytes() == altered and hub.sent == []
    path.unlink()
    fetch(NAME, tmp_path, hub.endpoint)
    assert contents(tmp_path / NAME) == FILES


def test_a_file_is_read_again_only_when_it_looks_changed_but_a_fetch_reads_it_always(hub, tmp_path):
    fetch(NAME, tmp_path, hub.endpoint)
    path = tmp_path / NAME / "pytorch_model.bin"
    before = path.stat()
    os.utime(path, ns=(1, 1))
    find_pretrained(NAME, tmp_path)
    assert record(path.parent)["files"][path.name]["seen"] == [SIZE, 1]
    path.write_bytes(OTHER[path.name])
    os.utime(path, ns=(1, 1))
    assert find_pretrained(NAME, tmp_path) == path.parent and before.st_size == SIZE
    with said(path, "size or hash differ"):
        fetch(NAME, tmp_path, hub.endpoint)


def test_weights_that_were_put_beside_the_fetched_ones_are_not_read_in_their_place(hub, tmp_path):
    fetch(NAME, tmp_path, hub.endpoint)
    (tmp_path / NAME / "model.safetensors").write_bytes(b"of somebody")
    with said("model.safetensors was not fetched", "Take it away"):
        find_pretrained(NAME, tmp_path)


def test_files_copied_by_hand_are_taken_as_they_are(hub, tmp_path, capsys):
    place = tmp_path / NAME
    place.mkdir()
    for file, data in OTHER.items():
        (place / file).write_bytes(data)
    assert find_pretrained(NAME, tmp_path) == place
    assert fetch(NAME, tmp_path, hub.endpoint).commit is None
    assert hub.sent == [] and contents(place) == OTHER
    assert main(["fetch", NAME, "--to", str(tmp_path)]) == 0
    assert "by hand and so not checked" in capsys.readouterr().out


def test_what_was_copied_by_hand_is_kept_when_the_rest_is_fetched_if_it_is_the_hubs(hub, tmp_path):
    place = tmp_path / NAME
    place.mkdir()
    hub.commits[OLD] = {**FILES, "model.safetensors": b"safe"}
    (place / "pytorch_model.bin").write_bytes(OTHER["pytorch_model.bin"])
    with said(place / "pytorch_model.bin", "size or hash differ"):
        fetch(NAME, tmp_path, hub.endpoint)
    (place / RECORD).unlink()
    (place / "pytorch_model.bin").write_bytes(FILES["pytorch_model.bin"])
    fetch(NAME, tmp_path, hub.endpoint)
    assert hub.bodies("pytorch_model.bin") == [] and contents(place) == FILES


def test_without_a_hub_a_sentence_says_what_to_copy_whence(tmp_path, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert main(["fetch", NAME, "--to", str(tmp_path), "--endpoint", endpoint]) == 3
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for part in (endpoint, "cannot be reached", *FILES, f"{PRETRAINED[NAME].address}/tree/main", str(tmp_path / NAME)):
        assert part in error


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ({"status": 401}, "answered 401"),
        ({"status": 503}, "answered 503"),
        ({"status": 404}, "has no config.json"),
        ({"plain": True}, "no commit or no hash"),
        ({"tags": {"pytorch_model.bin": "0123"}}, "no commit or no hash of pytorch_model.bin"),
    ],
)
def test_a_hub_that_does_not_serve_is_told_with_a_remedy(hub, tmp_path, fault, part):
    for key, value in fault.items():
        setattr(hub, key, value)
    with said(hub.endpoint, part, "by hand"):
        fetch(NAME, tmp_path, hub.endpoint)
    assert contents(tmp_path / NAME) == {} and not (tmp_path / NAME / RECORD).exists()


def test_offline_mode_is_respected_and_named(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with said("HF_HUB_OFFLINE"):
        fetch(NAME, tmp_path, hub.endpoint)
    assert hub.sent == []


def test_a_folder_that_cannot_be_written_is_told(hub, tmp_path):
    (tmp_path / NAME).write_text("a file is in the way")
    with said(tmp_path / NAME, "--to"):
        fetch(NAME, tmp_path, hub.endpoint)


@pytest.mark.parametrize("endpoint", ["localhost:80", "ftp://hub", "http://", "http://hub:99999", "http://[x"])
def test_what_is_no_address_is_refused(tmp_path, endpoint):
    with pytest.raises(OptionError, match="no address"):
        fetch(NAME, tmp_path, endpoint)


def test_an_unknown_name_is_bad_input_and_nothing_is_fetched(hub, tmp_path, capsys):
    assert main(["fetch", NAME, "cxr-bart", "--to", str(tmp_path), "--endpoint", hub.endpoint]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in PRETRAINED) and hub.sent == []


def test_the_list_says_size_licence_and_what_is_here(hub, tmp_path, capsys):
    def states() -> dict[str, str]:
        assert main(["fetch", "--to", str(tmp_path), "--json"]) == 0
        return {each["name"]: each["state"] for each in json.loads(capsys.readouterr().out)}

    assert states() == dict.fromkeys(PRETRAINED, "not here")
    hub.cut["pytorch_model.bin"] = 5
    assert main(["fetch", NAME, "--to", str(tmp_path), "--endpoint", hub.endpoint]) == 3
    capsys.readouterr()
    assert states()[NAME] == "fetched in part"
    hub.cut.clear()
    fetch(NAME, tmp_path, hub.endpoint)
    assert states()[NAME] == "here"
    main(["fetch", "--to", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRETRAINED)
    assert "439 MB" in lines[0] and "MIT" in lines[0] and "Apache-2.0" in lines[1] and "not here" in lines[1]
    (tmp_path / NAME / "vocab.txt").write_text("mine")
    assert "size or hash differ" in states()[NAME]


def test_what_is_missing_is_named_with_the_remedies(tmp_path):
    with said(tmp_path / NAME, *FILES, f"textseg fetch {NAME}", "by hand", "--pretrained", PRETRAINED[NAME].address):
        find_pretrained(NAME, tmp_path)
    with said("config.json and model.safetensors or pytorch_model.bin"):
        find_pretrained("convnext-tiny", tmp_path)
    with pytest.raises(OptionError, match="convnext-tiny"):
        find_pretrained("convnext-huge", tmp_path)


def test_the_folder_is_the_given_one_else_the_environments_else_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert pretrained_folder() == tmp_path / ".local/share/textseg/pretrained"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert pretrained_folder() == tmp_path / "data/textseg/pretrained"
    monkeypatch.setenv("TEXTSEG_PRETRAINED", "~/mine")
    assert pretrained_folder() == tmp_path / "mine"
    assert pretrained_folder(Path("given")) == Path("given")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PINS = st.fixed_dictionaries(
    {"tag": JSON, "size": JSON | st.just(3), "sha256": JSON, "seen": JSON | st.just([3, 1])}
) | JSON  # fmt: skip
RECORDS = JSON | st.fixed_dictionaries(
    {"schema": st.just(1) | JSON, "files": st.fixed_dictionaries(dict.fromkeys(FILES, PINS)) | JSON}
    | dict.fromkeys(("repository", "revision", "commit", "endpoint", "licence"), JSON)
)


@settings(max_examples=60)
@given(st.binary(max_size=20) | RECORDS.map(lambda told: json.dumps(told).encode()))
def test_a_damaged_record_is_never_taken_for_a_good_one(data):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / NAME
        place.mkdir()
        for file in FILES:
            (place / file).write_bytes(b"abc")
        (place / RECORD).write_bytes(data)
        with said(NAME):
            find_pretrained(NAME, Path(folder))
        assert (place / RECORD).read_bytes() == data


@pytest.mark.parametrize("change", ["fewer", "other", "sha256"])
def test_a_record_that_somebody_edited_is_told(hub, tmp_path, change):
    fetch(NAME, tmp_path, hub.endpoint)
    told = record(tmp_path / NAME)
    if change == "sha256":
        told["files"]["vocab.txt"] |= {"sha256": "0" * 64, "seen": None}
    else:
        pin = told["files"].pop("vocab.txt")
        told["files"] |= {"../vocab.txt": pin} if change == "other" else {}
    (tmp_path / NAME / RECORD).write_text(json.dumps(told))
    for attempt in (lambda: find_pretrained(NAME, tmp_path), lambda: fetch(NAME, tmp_path, hub.endpoint)):
        with said(RECORD, f"textseg fetch {NAME}"):
            attempt()


def test_a_record_of_a_newer_version_is_told(hub, tmp_path):
    fetch(NAME, tmp_path, hub.endpoint)
    (tmp_path / NAME / RECORD).write_text('{"schema": 99}')
    with said("newer textseg"):
        find_pretrained(NAME, tmp_path)


def test_looking_for_weights_loads_neither_torch_nor_the_hubs_library():
    code = "import sys, textseg.engine.pretrained\nprint({'torch', 'huggingface_hub'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
