"""A round of corrections through a real server and MONAI Label's own client, as Slicer makes it; see `learning.curve`.

The server is a process of its own on this machine, on the folders of a simulated site.
"""

import csv
import logging
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from textseg.data.prompts_table import TABLE
from textseg.errors import OptionError
from textseg.learning.corrections import Labelled
from textseg.learning.curve import Site
from textseg.learning.progress import DONE
from textseg.server.own_process import ServerFailed, own_server

START_SECONDS, POLL_SECONDS = 240, 2.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeachOverHttp:
    """app: the folder of the app whose main.py the server loads; it learns in a copy."""

    app: Path

    def __call__(self, site: Site, before: Sequence[Labelled], new: Sequence[Labelled]) -> None:
        """Start a server, upload, ask, submit, train, wait for its verdict. Raises ServerFailed, OptionError.

        before: is in the studies already.
        """
        if not (self.app / "main.py").is_file():
            raise OptionError(f"{self.app} holds no main.py. Name the app's folder by --app.")
        site.app.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.app / "main.py", site.app)
        _write_patients([*before, *new], site.studies / TABLE)
        with _running(site) as client:
            try:
                for labelled in new:
                    _submit(client, site, labelled)
                _train(client, site)
            except MONAILabelClientException as error:
                raise ServerFailed(f"The server refused: {error.msg}") from error


def _write_patients(labels: Sequence[Labelled], path: Path) -> None:
    """A studies folder's table that says whose pictures they are, and nothing of what is to be seen."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "prompt", "patient"))
        table.writerows((labelled.name, "", labelled.patient) for labelled in labels)


@contextmanager
def _running(site: Site) -> Iterator[MONAILabelClient]:
    """A server on the site's folders, and a client of it."""
    with own_server(site.app, site.studies, site.folder / "server.log", _settings(site)) as (url, process):
        yield _answering(url, process, site.folder)


def _settings(site: Site) -> list[str]:
    curve = site.curve
    paths = {"weights": site.base and site.base.parent, "pretrained": curve.pretrained}
    paths |= {"reference": curve.reference, "replay": curve.replay}
    told = {"models": curve.spec.name, **{key: path.resolve() for key, path in paths.items() if path}}
    return [part for key, value in told.items() for part in ("--conf", key, str(value))]


def _answering(url: str, process: subprocess.Popen, folder: Path) -> MONAILabelClient:
    client, deadline = (
        MONAILabelClient(url, tmpdir=str(folder), client_id="simulation"),
        time.monotonic() + START_SECONDS,
    )
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.info()
            return client
        except (OSError, MONAILabelClientException):
            time.sleep(0.5)
    raise ServerFailed(f"The server did not start. Its log: {folder / 'server.log'}")


def _submit(client: MONAILabelClient, site: Site, labelled: Labelled) -> None:
    """Upload, Run with the prompt, and Submit Label with the corrected mask in the segment that the run made."""
    model, (segment,) = site.curve.spec.name, labelled.segments
    client.upload_image(str(labelled.image), labelled.name)
    config = _first_choices(client.info()["models"][model]["config"])
    asked = {"prompt": segment.prompt, "laterality": segment.laterality}
    request = {**config, "result_extension": ".nrrd", "result_dtype": "uint8", **asked}
    file, reply = client.infer(model, labelled.name, request)
    Path(file).unlink()
    names = [{"name": name, "idx": number} for number, name in enumerate(reply["label_names"], start=1)]
    answer = client.save_label(labelled.name, str(labelled.label), params={"label_info": names})
    for sentence in answer.get("warnings", ()):
        logger.info("%s: %s", labelled.name, sentence)


def _train(client: MONAILabelClient, site: Site) -> None:
    """Click Train and wait. Raises ServerFailed when it did not come to a verdict."""
    model = site.curve.spec.name
    config = _first_choices(client.info()["trainers"][model]["config"])
    client.train_start(model, {**config, "max_epochs": site.curve.epochs})
    while (task := client.train_status())["status"] in ("SUBMITTED", "RUNNING"):
        time.sleep(POLL_SECONDS)
    stats = task["train_stats"]
    logger.info("GET /train/: %s", stats.get("verdict"))
    if stats.get("state") != DONE:
        raise ServerFailed(f"The training came to no verdict: {stats.get('verdict') or stats}")


def _first_choices(config: dict[str, Any]) -> dict[str, Any]:
    """Options as a viewer's table shows them: drop-downs by their first entry."""
    return {key: value[0] if isinstance(value, list) else value for key, value in config.items()}
