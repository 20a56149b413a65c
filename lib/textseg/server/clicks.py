"""How long a click on Next Sample takes among many pictures, measured on a real server in a process of its own."""

import csv
import random
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import numpy as np
import psutil
import requests
from PIL import Image

from textseg.choosing.disagreement import FLIP, TEXT
from textseg.choosing.scores import Scored, Scores
from textseg.data.joined import Known
from textseg.data.phantoms import draw_radiograph
from textseg.data.prompts_table import TABLE, PromptRow
from textseg.data.store.layout import Layout
from textseg.engine.ready import ready_manifest
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.server.known_words import key_of, words_of
from textseg.server.own_process import ServerFailed, own_server
from textseg.text.sentence import canonical

START_SECONDS = 600
LOOK = 320  # numbers of a look, those of the default model
ALL = "/datastore/?output=all"  # what Slicer asks for after every Next Sample
APP = "from textseg.server.app import TextSegApp  # noqa: F401\n"


@dataclass
class Clicks:
    """seconds: of each click; all_seconds: of Slicer's request for the list of everything, which follows a click.

    memory: of the server, bytes. processes: that it had started at any time.
    """

    pictures: int
    seconds: list[float] = field(default_factory=list)
    all_seconds: list[float] = field(default_factory=list)
    memory: int = 0
    processes: int = 0

    def told(self) -> str:
        """In words."""
        half, most = _median_and_p95(self.seconds)
        listed, longest = _median_and_p95(self.all_seconds)
        return (
            f"Next Sample among {self.pictures} scored pictures, {len(self.seconds)} clicks: median {half:.1f} ms, "
            f"95th percentile {most:.1f} ms; Slicer's list of everything after it: {listed:.0f} and {longest:.0f} ms; "
            f"the server holds {self.memory / 2**20:.0f} MiB and has started {self.processes} processes"
        )


def time_clicks(pictures: int, clicks: int) -> Clicks:
    """Studies of so many pictures with made-up scores, a server on them, and clicks of four clients in turn.

    Raises WeightsMissing, ServerFailed.
    """
    with tempfile.TemporaryDirectory(prefix="textseg-") as folder:
        studies = Path(folder) / "studies"
        studies.mkdir()
        _make_studies(studies, pictures)
        app, log = Path(folder) / "app", Path(folder) / "server.log"
        app.mkdir()
        (app / "main.py").write_text(APP)
        with own_server(app, studies, log) as (url, process):
            _wait(process, log, f"{pictures} of {pictures} pictures are scored")
            return _clicked(url, psutil.Process(process.pid), Clicks(pictures), clicks)


def _clicked(url: str, server: psutil.Process, found: Clicks, clicks: int) -> Clicks:
    before = _ended_children(server)
    with requests.Session() as session:
        for number in range(clicks):
            body = {"client_id": f"client {number % 4}"}
            found.seconds.append(_seconds(session, "POST", f"{url}/activelearning/random", body))
            found.processes = max(found.processes, len(server.children(recursive=True)))
            if number % 10 == 0:
                found.all_seconds.append(_seconds(session, "GET", f"{url}{ALL}"))
    found.processes += _ended_children(server) != before
    found.memory = server.memory_info().rss
    return found


def _seconds(session: requests.Session, method: str, url: str, body: object = None) -> float:
    started = time.perf_counter()
    answer = session.request(method, url, json=body, timeout=60)
    passed = time.perf_counter() - started
    if answer.status_code != 200:
        raise ServerFailed(f"The server answered {answer.status_code}: {answer.text[:200]}")
    return passed


def _ended_children(server: psutil.Process) -> tuple[float, float]:
    """Processor time of processes that it started and that are gone."""
    times = server.cpu_times()
    return times.children_user, times.children_system


def _make_studies(studies: Path, pictures: int) -> None:
    """One drawn picture under many names, a prompt for each, and scores as a server would have kept them."""
    phantom, layout, rows = draw_radiograph({"left": ("lower",)}, 1, 256), Layout(studies), []
    first = studies / "first.png"
    Image.fromarray(phantom.image).save(first)
    prompt = canonical(phantom.finding)
    reading = words_of(Known(row=PromptRow(prompt)), first, None).reading
    weights = str(ready_manifest(model_spec(DEFAULT_MODEL))["sha256"])
    scores, chance = Scores(layout.scores, layout.unfinished), random.Random(0)
    looks = np.random.default_rng(0).normal(size=(pictures, LOOK)).astype(np.float16)
    for number in range(pictures):
        path = studies / f"picture_{number:06d}.png"
        path.hardlink_to(first)
        rows.append((path.name, prompt))
    first.unlink()
    for number in range(pictures):
        path = studies / f"picture_{number:06d}.png"
        parts = {FLIP: chance.random(), TEXT: chance.random()}
        scores.put(path.stem, Scored(key_of(path, weights, reading), looks[number], chance.random(), parts))
    with (studies / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "prompt"), *rows])


def _wait(process: subprocess.Popen, log: Path, line: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while line not in log.read_text(errors="replace"):
        if time.monotonic() > deadline or process.poll() is not None:
            raise ServerFailed(f"The server did not come so far. Its log ends: {log.read_text()[-1000:]}")
        time.sleep(0.5)


def _median_and_p95(seconds: list[float]) -> tuple[float, float]:
    """In milliseconds."""
    parts = quantiles([1000 * each for each in seconds], n=20) if len(seconds) > 1 else [1000 * seconds[0]] * 19
    return parts[9], parts[18]
