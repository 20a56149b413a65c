"""Labels whose side files cannot be read: they are named and left out, and nothing else is stopped by them."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from textseg.data.phantoms import draw_radiograph
from textseg.data.store.clients import Client
from textseg.data.store.durable import SCHEMA
from textseg.data.store.layout import Layout
from textseg.errors import OptionError
from textseg.learning.current import CurrentPredictor
from textseg.learning.progress import FAILED
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.server.app import TextSegApp
from textseg.server.labelled import labelled_by_people, labelled_since
from textseg.server.studies import Studies
from textseg.server.train import TextSegTrain, TrainingSettings

NEWER, UNREADABLE, WHOLE = "alpha", "bravo", "charlie"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three labelled pictures: one label by a newer textseg, one whose side file cannot be opened, one as it must be.

    All prompts speak of the other lung than the one that is drawn: no label can be learned from.
    """
    folder, label = tmp_path / "studies", tmp_path / "label.nii.gz"
    folder.mkdir()
    for number, name in enumerate((NEWER, UNREADABLE, WHOLE)):
        phantom = draw_radiograph({"right": ("lower",)}, number, 160)
        Image.fromarray(phantom.image).save(folder / f"{name}.png")
    rows = "".join(f'{name},"infection, left lung"\n' for name in (NEWER, UNREADABLE, WHOLE))
    (folder / "prompts.csv").write_text(f"image,prompt\n{rows}")
    sitk.WriteImage(sitk.GetImageFromArray(phantom.mask[None].astype(np.uint8)), str(label))
    with_labels = opened(folder)
    for name in (NEWER, UNREADABLE, WHOLE):
        with_labels.submit(name, label, "final", {"label_info": [{"name": "infection", "idx": 1}]}, Client("anna", ""))
    with_labels.close()
    side = side_file(folder, NEWER)
    side.write_text(json.dumps({**json.loads(side.read_text()), "schema": SCHEMA + 1}))
    side = side_file(folder, UNREADABLE)
    side.unlink()
    side.mkdir()  # as root may open any file, this one is none
    return folder


def side_file(folder: Path, name: str) -> Path:
    """What is kept about a picture's only final label."""
    (side,) = Layout(folder).picture(name).glob("labels/final/*.json")
    return side


def opened(folder: Path) -> Studies:
    return Studies(str(folder), auto_reload=False, read_only=False)


def test_a_label_whose_side_file_cannot_be_read_is_left_out_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_out: list[str] = []
    assert [each.name for each in labelled_by_people(opened(folder), left_out)] == [WHOLE]
    assert [sentence.split(":")[0] for sentence in left_out] == [NEWER, UNREADABLE]
    assert "newer textseg" in left_out[0] and "Is a directory" in left_out[1]
    assert f"not trained on: {NEWER}: " in caplog.text and f"not trained on: {UNREADABLE}: " in caplog.text


def test_a_training_tells_of_them_beside_the_others(folder: Path, tmp_path: Path, one_thread: None) -> None:
    spec = model_spec(DEFAULT_MODEL)
    task = TextSegTrain(CurrentPredictor(Versions(tmp_path / "model" / spec.name, spec)), TrainingSettings())
    with pytest.raises(OptionError, match="nothing to learn from"):
        task({"max_epochs": 1}, opened(folder))
    told = task.stats()
    assert told["state"] == FAILED
    assert sorted(sentence.split(":")[0] for sentence in told["left_out"]) == [NEWER, UNREADABLE, WHOLE]


def test_they_do_not_count_as_labelled_since_the_last_training(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert labelled_since(opened(folder), "") == [WHOLE]
    assert f"not counted as labelled: {NEWER}: " in caplog.text
    assert f"not counted as labelled: {UNREADABLE}: " in caplog.text


def test_a_server_that_retrains_by_itself_starts_with_them(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, one_thread: None
) -> None:
    app = TextSegApp(str(tmp_path / "app"), str(folder), {"retrain_after": "20", "scoring": "off"})
    try:
        with caplog.at_level(logging.WARNING):
            app.on_reloaded()
        assert f"not counted as labelled: {NEWER}: " in caplog.text
    finally:
        app.close()
