"""The train task in this process: what a training that fails leaves behind for whoever looks."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from textseg.data.phantoms import draw_radiograph
from textseg.data.store.clients import Client
from textseg.errors import OptionError
from textseg.learning.current import CurrentPredictor
from textseg.learning.progress import FAILED
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.server.studies import Studies
from textseg.server.train import TextSegTrain, TrainingSettings


def test_a_training_that_fails_tells_which_labels_were_left_out(tmp_path: Path, one_thread: None) -> None:
    folder, label = tmp_path / "studies", tmp_path / "label.nii.gz"
    folder.mkdir()
    phantom = draw_radiograph({"right": ("lower",)}, 1, 160)
    Image.fromarray(phantom.image).save(folder / "oscar.png")
    (folder / "prompts.csv").write_text('image,prompt\noscar,"infection, left lung"\n')  # not what is drawn
    sitk.WriteImage(sitk.GetImageFromArray(phantom.mask[None].astype(np.uint8)), str(label))
    studies, spec = Studies(str(folder), auto_reload=False, read_only=False), model_spec(DEFAULT_MODEL)
    studies.submit("oscar", label, "final", {"label_info": [{"name": "infection", "idx": 1}]}, Client("anna", ""))
    task = TextSegTrain(CurrentPredictor(Versions(tmp_path / "model" / spec.name, spec)), TrainingSettings())
    with pytest.raises(OptionError, match="nothing to learn from"):
        task({"max_epochs": 1}, studies)
    told = task.stats()
    assert told["state"] == FAILED and told["verdict"].startswith("not trained: There is nothing to learn from")
    assert [sentence.split(":")[0] for sentence in told["left_out"]] == ["oscar"]
