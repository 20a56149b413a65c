"""The infer task: one request in five hops (house: request -> reading -> picture -> mask -> file and reply)."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from textseg.data.prompts_table import PromptRow
from textseg.engine.predictor import Prediction, Predictor, Stopwatch
from textseg.errors import PromptError
from textseg.imaging.picture import Picture
from textseg.imaging.read import read_picture
from textseg.imaging.write import write_new_mask
from textseg.server.options import InferOptions, infer_config, read_options
from textseg.text.prompt import Reading, check_text, read_prompt
from textseg.text.sentence import canonical, short_name

API = 1
LABEL = "infection"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """Which text counts for a request. source: typed, preset, csv or none."""

    prompt: str
    source: str
    reading: Reading | None


class TextSegInfer(InferTask):
    """One model as MONAI Label's clients see it: type segmentation, one label, a free-text prompt."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={LABEL: 1},
            dimension=2,
            description=f"{predictor.spec.title}. Write what to segment into `prompt`, in the patient's sides.",
            config=infer_config(predictor.threshold),
        )
        self.predictor = predictor
        # Not the common temporary folder: a client on this machine saves there under the same name.
        self._folder = tempfile.TemporaryDirectory(prefix="textseg-")

    def is_valid(self) -> bool:
        """The model is loaded before the first request, or the server does not start."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """request: options, `image` (a path), `row` (its PromptRow or None), `request_id`.

        Returns the mask file (the caller removes it) and the reply. Raises TextSegError.
        """
        watch = Stopwatch()
        with watch.measure("total"):
            options = read_options(request, self.predictor.threshold)
            row = request.get("row")
            asked = which_text(options, row, self.predictor.verbatim)
            with watch.measure("read"):
                picture = read_picture(request["image"], options.modality, row.modality if row else "")
            finding, bilateral = (asked.reading.finding, asked.reading.bilateral) if asked.reading else (None, None)
            prediction = self.predictor.predict(picture, finding, bilateral, options.threshold, watch)
            with watch.measure("write"):
                file = write_new_mask(
                    picture, prediction.masks, Path(self._folder.name), options.suffix, options.dtype, options.compress
                )
        return str(file), self._reply(request["request_id"], asked, picture, prediction, watch)

    def _reply(
        self, request_id: str, asked: Asked, picture: Picture, prediction: Prediction, watch: Stopwatch
    ) -> dict[str, Any]:
        finding = asked.reading.finding if asked.reading else None
        warnings = list(asked.reading.warnings if asked.reading else ()) + list(prediction.warnings)
        if asked.source == "none":
            warnings.insert(0, "No prompt was given: infection is looked for anywhere in both lungs.")
        logger.info("request %s: %s, text %s", request_id, self.predictor.spec.name, asked.source)
        return {
            "label_names": {segment_name(asked, picture, self.predictor.spec.modalities): 1},
            "prompt": asked.prompt,
            "prompt_source": asked.source,
            "finding": finding.to_json() if finding else None,
            "canonical": canonical(finding),
            "model_name": self.predictor.spec.name,
            "model_version": self.predictor.version,
            "warnings": warnings,
            "latencies": {name: round(seconds, 4) for name, seconds in watch.seconds.items()},
            "request_id": request_id,
            "api": API,
        }


def which_text(options: InferOptions, row: PromptRow | None, verbatim: bool = False) -> Asked:
    """The prompt, else the preset (patient sides), else the picture's row in prompts.csv (its own laterality, else
    patient), else none. verbatim: as in `read_prompt`. Raises PromptError when the text that counts cannot be read.
    """
    if check_text(options.prompt).strip():
        return Asked(options.prompt, "typed", read_prompt(options.prompt, options.laterality, verbatim))
    if check_text(options.preset).strip():
        return Asked(options.preset, "preset", read_prompt(options.preset, verbatim=verbatim))
    if row and row.prompt:
        try:
            return Asked(row.prompt, "csv", read_prompt(row.prompt, row.laterality or "patient", verbatim))
        except PromptError as error:
            raise PromptError(f"The picture's row in prompts.csv cannot be used. {error}") from error
    return Asked("", "none", None)


def segment_name(asked: Asked, picture: Picture, modalities: tuple[str, ...]) -> str:
    """What a Slicer user sees: the patient-side reading, ASCII, led by marks where safety is touched."""
    marks = {
        "no prompt": asked.source == "none",
        "from CSV": asked.source == "csv",
        "sides unknown": not picture.sides_known,
        f"{picture.modality.upper()} unseen": picture.modality not in modalities,
    }
    lead = ", ".join(mark for mark, holds in marks.items() if holds)
    name = short_name(asked.reading.finding if asked.reading else None)
    return f"[{lead}] {name}" if lead else name
