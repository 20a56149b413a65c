"""MONAI Label's batch job as its process runs it: each picture with its own prompt, over no person's label."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from textseg.data.phantoms import draw_radiograph
from textseg.data.store.clients import Client
from textseg.data.store.labels import MACHINE, PERSON
from textseg.registry import DEFAULT_MODEL
from textseg.server.app import TextSegApp
from textseg.server.infer import Job, Outcome

LEFT, RIGHT, TYPED = "infection, left lung", "infection, right lung", "RUL consolidation"
TABLE = f"""image;prompt
alpha;{LEFT}
bravo;{RIGHT}
charlie;{LEFT}
delta;fracture of the clavicle
echo;{LEFT}
echo.png;{RIGHT}
"""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with prompts of their own: right, unreadable, doubled; foxtrot has none."""
    folder = tmp_path_factory.mktemp("studies")
    for number, name in enumerate(("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf")):
        Image.fromarray(draw_radiograph({"left": ("lower",), "right": ("lower",)}, number, 128).image).save(
            folder / f"{name}.png"
        )
    (folder / "prompts.csv").write_text(TABLE)
    return folder


@pytest.fixture(scope="module")
def app(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextSegApp]:
    """The app in this process."""
    app = TextSegApp(str(tmp_path_factory.mktemp("app")), str(studies), {})
    yield app
    app.close()


def submit(app: TextSegApp, picture: str, tag: str, folder: Path) -> bytes:
    """A person's label of one voxel."""
    mask = np.zeros((1, 128, 128), np.uint8)
    mask[0, 5, 5] = 1
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(folder / "label.nrrd"))
    app.datastore().save_label(picture, str(folder / "label.nrrd"), tag, {"label_info": [{"name": "infection"}]})
    return shown(app, picture, tag)


def shown(app: TextSegApp, picture: str, tag: str) -> bytes:
    return Path(app.datastore().get_label_uri(picture, tag)).read_bytes()


def test_every_picture_gets_its_own_prompt_and_nobodys_label_is_replaced(
    app: TextSegApp, studies: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datastore = app.datastore()
    final, own = submit(app, "bravo", "final", tmp_path), submit(app, "charlie", "original", tmp_path)
    app.infer({"model": DEFAULT_MODEL, "image": "golf", "prompt": TYPED, "client_id": "somebody"})
    datastore.give(Client("", ""), "alpha", {})  # a viewer without an id is looking at it
    done = app.batch_infer({"model": DEFAULT_MODEL, "images": "all"})
    assert {name: told["done"] for name, told in done.items()} == {
        "alpha": True,
        "bravo": True,
        "charlie": False,
        "delta": False,
        "echo": False,
        "foxtrot": True,
        "golf": True,
    }
    assert {name: told["status"] for name, told in done.items() if not told["done"]} == {
        "charlie": 409,
        "delta": 422,
        "echo": 422,
    }
    labels = {name: datastore.get_label_info(name, "original") for name in done if done[name]["done"]}
    assert {name: label["prompt"] for name, label in labels.items()} == {
        "alpha": LEFT,
        "bravo": RIGHT,
        "foxtrot": "",
        "golf": TYPED,
    }
    assert {label["by"] for label in labels.values()} == {MACHINE}
    assert shown(app, "bravo", "final") == final and shown(app, "charlie", "original") == own
    assert datastore.get_label_info("charlie", "original")["by"] == PERSON
    assert datastore.get_labeled_images() == ["bravo"]
    assert "clavicle" not in caplog.text
    left = sitk.GetArrayFromImage(sitk.ReadImage(datastore.get_label_uri("alpha", "original")))[0]
    assert left[:, :64].sum() <= left[:, 64:].sum()  # the patient's left


def test_a_list_of_pictures_and_a_final_label_of_a_person_are_respected(app: TextSegApp, tmp_path: Path) -> None:
    final = submit(app, "bravo", "final", tmp_path)
    asked = {"model": DEFAULT_MODEL, "images": ["alpha", "bravo"], "label_tag": "final"}
    done = app.batch_infer(asked)
    assert (done["alpha"]["done"], done["bravo"]) == (True, {"done": False, "status": 409})
    assert shown(app, "bravo", "final") == final


def test_a_picture_at_which_the_server_fails_costs_the_others_nothing(
    app: TextSegApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task = app._infers[DEFAULT_MODEL]
    run = task.run

    def failing(job: Job) -> Outcome:
        if job.picture.stem == "bravo":
            raise RuntimeError(f"no mask for {RIGHT}")  # as a library may quote what it was given
        return run(job)

    monkeypatch.setattr(task, "run", failing)
    done = app.batch_infer({"model": DEFAULT_MODEL, "images": ["alpha", "bravo", "foxtrot"]})
    assert done["bravo"] == {"done": False, "status": 500}
    assert done["alpha"]["done"] and done["foxtrot"]["done"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("bravo is left out") and line.endswith("builtins.RuntimeError")
    assert RIGHT not in caplog.text
