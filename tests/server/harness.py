"""A real server process on drawn studies, without network, and MONAI Label's own client."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient

from textseg.registry import DEFAULT_MODEL

APP = Path(__file__).parents[2] / "apps" / "textseg"
START_SECONDS = 240


@dataclass
class Server:
    """A running server: where it answers, its app and studies folders, its log, what it tried to reach."""

    url: str
    app: Path
    studies: Path
    log: Path
    blocked: Path
    process: subprocess.Popen

    def client(self, folder: Path) -> MONAILabelClient:
        """The client that Slicer uses, saving what it gets into `folder`."""
        return MONAILabelClient(self.url, tmpdir=str(folder), client_id="test")

    def infer(self, folder: Path, image: str, **params: Any) -> tuple[sitk.Image, dict[str, Any]]:
        """Infer as Slicer does: all options of /info, drop-downs by their first entry; mask and reply."""
        client = self.client(folder)
        config = client.info()["models"][DEFAULT_MODEL]["config"]
        first = {key: value[0] if isinstance(value, list) else value for key, value in config.items()}
        request = {**first, "result_extension": ".nrrd", "result_dtype": "uint8", **params}
        file, reply = client.infer(DEFAULT_MODEL, image, request)
        return sitk.ReadImage(file), reply

    def post(self, image: str, params: str, model: str = DEFAULT_MODEL) -> requests.Response:
        """A bare request, for what the client would not send."""
        url = f"{self.url}/infer/{model}"
        return requests.post(url, params={"image": image}, files={"params": (None, params)}, timeout=120)


def start(studies: Path, conf: tuple[str, ...], folder: Path, app: Path | None = None) -> Server:
    """Start one from `folder`, an unrelated working directory, with the network blocked; returns when it answers.

    app: the app's folder, one of its own in `folder` when None: what is learnt in a test is served nowhere else.
    """
    port, app = _free_port(), app or _own_app(folder)
    no_network = Path(__file__).parent / "no_network"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(no_network), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "NO_NETWORK_LOG": str(folder / "blocked.txt"),
        "HOME": str(folder),
    }
    binaries = Path(sys.executable).parent
    environment["PATH"] = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    command = [str(binaries / "monailabel"), "start_server", "--app", str(app), "--studies", str(studies)]
    command += ["--host", "127.0.0.1", "--port", str(port), *conf]
    if "scoring" not in conf:  # it would take the processor from the tests
        command += ["--conf", "scoring", "off"]
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{port}", app, studies, log, folder / "blocked.txt", process)
    _wait_until_ready(server)
    return server


def three_dimensional(image: sitk.Image) -> sitk.Image:
    """A flat picture as one slice."""
    return image if image.GetDimension() == 3 else sitk.JoinSeries(image)


def assert_same_grid(mask: sitk.Image, source: sitk.Image) -> None:
    """The same size, spacing, origin and direction."""
    assert mask.GetSize() == source.GetSize()
    for got, wanted in (
        (mask.GetSpacing(), source.GetSpacing()),
        (mask.GetOrigin(), source.GetOrigin()),
        (mask.GetDirection(), source.GetDirection()),
    ):
        assert got == pytest.approx(wanted, abs=1e-6)


def assert_refused(server: Server, image: str, params: dict, said: str, remedy: str) -> None:
    """A 4xx whose sentence names the fault and the remedy."""
    answer = server.post(image, json.dumps(params))
    assert 400 <= answer.status_code < 500, answer.text
    assert said in answer.json()["detail"]
    assert remedy in answer.json()["detail"]


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if requests.get(f"{server.url}/info/", timeout=5).status_code < 500:  # 401 where a login is on
                return
        except requests.RequestException:
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{server.log.read_text()[-3000:]}")


def _own_app(folder: Path) -> Path:
    app = folder / "app" / "textseg"
    app.mkdir(parents=True, exist_ok=True)
    shutil.copy(APP / "main.py", app)
    return app


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
