"""Schemathesis on a running server's /openapi.json: what is sent, and what must hold during it and afterwards."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import SimpleITK as sitk
from PIL import Image

from harness import Server, assert_same_grid, three_dimensional
from textseg.data.sample_studies import MASKS
from textseg.registry import DEFAULT_MODEL

REPOSITORY = Path(__file__).parents[2]
TAG = "final"
KEPT = ("xray_alpha", "xray_bravo", "xray_delta", "xray_echo", "ct_foxtrot", "ct_golf")
DOOMED = "xray_charlie"  # the one whose deletion is asked for by name
BUSY = 503  # the only 5xx that a server may answer: come again later

# Besides what Schemathesis makes up: names that exist, names that lead astray, and JSON that parsers stumble over.
KNOWN = {
    "pictures": [*KEPT, f"../{KEPT[0]}", "exact_masks", "prompts", "labels", "nowhere"],
    "kept": list(KEPT),
    "labels": [KEPT[0], KEPT[0], DOOMED, KEPT[-1]],
    "new": ["brought_one", "brought_two", "brought three", "über"],
    "doomed": [DOOMED, ".", "../prompts"],
    "models": [DEFAULT_MODEL],
    "tags": [TAG, TAG, "original", "..", "version_1"],
    "strategies": ["random", "first"],
    "texts": [
        "{}",
        '{"prompt": "Infection, lower left lung", "result_extension": ".nii.gz"}',
        '{"prompt": "Infection, both lungs", "save_label": true, "label_tag": "version_1"}',
        '{"prompt": 7, "threshold": "high", "image": ["/etc/passwd"], "session": 5, "label_tag": {}}',
        '{"threshold": NaN, "model": null, "device": "cuda:9", "result_dtype": "uint7"}',
        '{"prompt": "\\ud800", "label_info": [null], "client_id": "\\u0000"}',
        "[]",
        "null",
        "{",
        '{"a": ' * 2000,
        '{"threshold": ' + "9" * 5000 + "}",
    ],
}
WHERE = {
    "query.image": ("pictures", 0.7),
    "query.label": ("pictures", 0.7),
    "query.id": ("doomed", 0.7),
    "query.tag": ("tags", 0.7),
    "path.model": ("models", 0.7),
    "path.strategy": ("strategies", 0.5),
    "body.params": ("texts", 0.7),
    "body.info": ("texts", 0.5),
    "body.wsi": ("texts", 0.5),
}
# Routes that need several things right at once, and get three times as many tries.
WORK = {
    "POST /infer/{model}": {"query.image": ("kept", 0.8), "path.model": ("models", 0.9), "body.params": ("texts", 0.5)},
    "PUT /datastore/image": {"query.image": ("new", 0.6), "body.params": ("texts", 0.4)},
    "PUT /datastore/label": {
        "query.image": ("labels", 0.8),
        "query.tag": ("tags", 0.8),
        "body.params": ("texts", 0.4),
    },
}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. status 0: the server gave none in time."""

    method: str
    url: str
    sent: str
    status: int
    answer: str

    def query(self, name: str) -> str:
        """The first value of that name, or nothing."""
        return parse_qs(urlsplit(self.url).query).get(name, [""])[0]

    def path(self) -> str:
        """Without host and query."""
        return urlsplit(self.url).path


def assert_outlives(server: Server, folder: Path, *, seeds: Sequence[int], examples: int, minutes: float) -> None:
    """Fuzz a server on throw-away sample studies; it must answer no 5xx but 503, lose nothing and go on working.

    Each seed is a process of its own, all at the same time: Schemathesis' own threads meet a fault of Python 3.11.
    """
    for name in (KEPT[0], DOOMED):
        server.client(folder).save_label(name, str(server.studies / MASKS / f"{name}.nii.gz"), TAG)
    before = _stored(server)
    assert len(before) == len(KEPT) + 3

    program, files = _program(), _files(server, folder / "files")
    with ThreadPoolExecutor(len(seeds)) as pool:
        runs = list(pool.map(lambda seed: _fuzz(program, server, folder, files, seed, examples, minutes), seeds))
    exchanges = [one for run in runs for one in run.exchanges]
    said = "\n".join(run.summary() for run in runs)
    wrong = [one for one in exchanges if one.status < 100 or (one.status >= 500 and one.status != BUSY)]
    assert not wrong, f"{_told(wrong)}\n{said}"
    assert all(run.code == 0 for run in runs), said
    for method, path in (("POST", f"/infer/{DEFAULT_MODEL}"), ("PUT", "/datastore/image"), ("PUT", "/datastore/label")):
        assert _reached(exchanges, method, path), f"no {method} {path} was as it should be: little was tried\n{said}"

    assert server.process.poll() is None
    assert requests.get(f"{server.url}/info/", timeout=60).ok
    after = _stored(server)
    assert {what for what, content in before.items() if after.get(what) != content} <= _asked_to_change(exchanges)
    _assert_a_new_picture_works(server, folder)


@dataclass(frozen=True)
class Run:
    """One run of Schemathesis: its exit code, what it printed, and what it sent."""

    code: int
    text: str
    exchanges: list[Exchange]

    def summary(self) -> str:
        """Errors of its own, and the closing lines."""
        errors = self.text[self.text.find("= ERRORS =") :][:1500] if "= ERRORS =" in self.text else ""
        return f"Schemathesis ended with {self.code}:\n{errors}\n{self.text[self.text.find('= SUMMARY =') :][-2000:]}"


def _program() -> str:
    """Where Schemathesis is; `make test` puts it into .fuzz, for it cannot live beside MONAI Label."""
    named = os.environ.get("TEXTSEG_SCHEMATHESIS")
    ours = REPOSITORY / ".fuzz" / "bin" / "schemathesis"
    found = named or (str(ours) if ours.exists() else shutil.which("schemathesis"))
    if not found:
        pytest.skip("there is no schemathesis: neither TEXTSEG_SCHEMATHESIS nor .fuzz/bin nor on PATH; run `make test`")
    return found


def _fuzz(program: str, server: Server, folder: Path, files: Path, seed: int, examples: int, minutes: float) -> Run:
    config, record = folder / f"fuzz_{seed}.toml", folder / f"fuzz_{seed}.har"
    config.write_text(_configuration(record, examples), encoding="utf-8")
    command = [program, "--no-color", "--config-file", str(config), "run", f"{server.url}/openapi.json"]
    command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--request-timeout", "60"]
    command += ["--seed", str(seed), "--workers", "1"]
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": str(here / "no_network"),
        "NO_NETWORK_LOG": str(folder / f"blocked_{seed}.txt"),
        "SCHEMATHESIS_HOOKS": str(here / "fuzz_hooks.py"),
        "TEXTSEG_FUZZ_FILES": str(files),
    }
    with (folder / f"fuzz_{seed}.txt").open("w+", encoding="utf-8") as output:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=minutes * 60
        )
        output.seek(0)
        said = output.read()
    assert record.exists(), said[-3000:]
    entries = json.loads(record.read_text(encoding="utf-8"))["log"]["entries"]
    return Run(done.returncode, said, [_exchange(entry) for entry in entries])


def _configuration(record: Path, examples: int) -> str:
    lines = [
        f"reports.har = {{ enabled = true, path = {json.dumps(str(record))} }}",
        "cache.enabled = false",
        "output.sanitization.enabled = false",
        f'generation = {{ max-examples = {examples}, database = "none", no-shrink = true }}',
        "phases.coverage.unexpected-methods = []",
        "[checks]",
        "enabled = false",
        f'not_a_server_error = {{ enabled = true, expected-statuses = ["2xx", "3xx", "4xx", {BUSY}] }}',
        "[dictionaries]",
        *(f"{name} = {{ values = {json.dumps(values)} }}" for name, values in KNOWN.items()),
        "[parameters]",
        *_bindings(WHERE),
    ]
    for route, where in WORK.items():
        lines += ["[[operations]]", f'include-name = "{route}"', f"generation.max-examples = {3 * examples}"]
        lines += ["[operations.parameters]", *_bindings(where)]
    return "\n".join(lines)


def _bindings(where: dict[str, tuple[str, float]]) -> Iterable[str]:
    return (f'"{at}" = {{ dictionary = "{name}", probability = {often} }}' for at, (name, often) in where.items())


def _files(server: Server, folder: Path) -> Path:
    """What may stand where a file is uploaded: small pictures, labels that fit, and damaged ones."""
    folder.mkdir()
    picture = Image.open(server.studies / f"{KEPT[0]}.png").convert("L")
    picture.resize((64, 64)).save(folder / "small.png")
    picture.resize((64, 48)).save(folder / "small.jpg")
    picture.resize((48, 64)).save(folder / "small.webp", lossless=True)
    picture.resize((64, 64)).convert("I;16").save(folder / "deep.png")
    picture.point(lambda value: value > 200).save(folder / "label.png")  # as large as the pictures of the studies
    (folder / "cut_off.png").write_bytes((folder / "small.png").read_bytes()[:700])
    (folder / "not_a_picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.write(folder / "small.png", "small.png")
        archive.writestr("../outside.png", b"")
    return folder


def _exchange(entry: dict[str, Any]) -> Exchange:
    request, response = entry["request"], entry["response"]
    return Exchange(
        request["method"],
        request["url"],
        request.get("postData", {}).get("text", ""),
        response["status"],
        response["content"].get("text", ""),
    )


def _told(wrong: Iterable[Exchange]) -> str:
    """The first of each method, route and status, shortened."""
    alike: dict[str, list[Exchange]] = {}
    for one in wrong:
        alike.setdefault(f"{one.status} {one.method} {_route(one.path())}", []).append(one)
    return "\n".join(
        f"{len(same)} x {what}: {same[0].url[:300]} {same[0].sent[:300]!r} -> {same[0].answer[:200]!r}"
        for what, same in sorted(alike.items())
    )


def _route(path: str) -> str:
    """Without the part that is made up: /infer/0 and /infer/1 are one."""
    parts = path.strip("/").split("/")
    fixed = parts[0] == "datastore" or parts[-1] in ("infer", "gpu")
    return "/".join(parts if fixed else [*parts[:-1], "*"] if len(parts) > 1 else parts)


def _stored(server: Server) -> dict[tuple[str, str], str]:
    """Checksums of the pictures and of the labels that the server hands out, as far as it does."""
    asked = [("image", name, {"image": name}) for name in (*KEPT, DOOMED)]
    asked += [("label", name, {"label": name, "tag": TAG}) for name in (KEPT[0], DOOMED)]
    stored = {}
    for kind, name, params in asked:
        answer = requests.get(f"{server.url}/datastore/{kind}", params=params, timeout=60)
        if answer.ok:
            stored[kind, name] = hashlib.sha256(answer.content).hexdigest()
    return stored


def _reached(exchanges: Iterable[Exchange], method: str, path: str) -> bool:
    return any(one.method == method and one.path() == path and one.status == 200 for one in exchanges)


def _asked_to_change(exchanges: Iterable[Exchange]) -> set[tuple[str, str]]:
    """What a client asked to delete, a picture with its labels, and labels that it sent anew."""
    asked = set()
    for one in exchanges:
        if one.status != 200:
            continue
        if one.method == "DELETE" and one.path() in ("/datastore/", "/datastore/image"):
            asked |= {("image", one.query("id")), ("label", one.query("id"))}
        elif one.method == "DELETE" and one.path() == "/datastore/label":
            asked.add(("label", one.query("id")))
        elif one.method == "PUT" and one.path() == "/datastore/label":
            asked.add(("label", one.query("image")))
    return asked


def _assert_a_new_picture_works(server: Server, folder: Path) -> None:
    name = "after_the_fuzz"
    picture = folder / f"{name}.png"
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(server.studies / f"{KEPT[0]}.png")))
    sitk.WriteImage(sitk.GetImageFromArray(pixels[::2, ::2].copy()), str(picture))
    server.client(folder).upload_image(str(picture), name)
    mask, _ = server.infer(folder, name, prompt="Infection, lower left lung")
    assert_same_grid(mask, three_dimensional(sitk.ReadImage(str(picture))))
