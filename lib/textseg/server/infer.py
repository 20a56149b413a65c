"""The infer task: one request in five hops (house: request -> reading -> picture -> mask -> file and reply)."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from textseg.data.joined import CLASS_LABEL
from textseg.data.prompts_table import PromptRow
from textseg.data.store.clients import Client
from textseg.data.store.durable import iso_time
from textseg.data.store.history import CSV, NONE, PRESET, REMEMBERED, TYPED, PromptEntry
from textseg.engine.predictor import Prediction, Predictor, Stopwatch
from textseg.engine.texts import Said
from textseg.errors import DataError, OptionError, PromptError
from textseg.imaging.picture import Picture
from textseg.imaging.read import read_picture
from textseg.imaging.write import write_new_mask
from textseg.learning.current import CurrentPredictor
from textseg.server.caller import current_caller
from textseg.server.options import InferOptions, infer_config, read_options
from textseg.server.request_log import told
from textseg.server.temporary import temporary_folder
from textseg.text.prompt import Reading, check_text, read_prompt
from textseg.text.sentence import canonical, short_name, words_name

API = 1
NO_PROMPT = "No prompt was given: infection is looked for anywhere in both lungs."
NO_WORDS = "No prompt was given: the model marks what it was trained to mark without words."
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """Which text counts for a request. source: typed, preset, remembered, csv or none; laterality: of the prompt.

    warnings: why an earlier text was passed over.
    """

    prompt: str
    source: str
    reading: Reading | None
    laterality: str = "patient"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One request. options: as the viewer sent them. picture: a file or series folder. row, remembered: what is known;
    row_fault: why the row cannot be told.

    carried_over: the text is that of the picture before, which Slicer sent by itself: it counts as blank. seen: the
    state of the picture's file.
    """

    options: Mapping[str, Any]
    picture: Path
    request_id: str
    row: PromptRow | None = None
    row_fault: str = ""
    remembered: PromptEntry | None = None
    carried_over: bool = False
    seen: str = ""


@dataclass(frozen=True)
class Outcome:
    """file: the mask, which the caller removes. reply: for the viewer. mask: z, y, x on the picture's own grid."""

    file: Path
    reply: dict[str, Any]
    picture: Picture
    mask: np.ndarray
    asked: Asked
    viewer_laterality: str

    def entry(self, client: Client, user: str, model: str) -> PromptEntry:
        """The run as the picture's history keeps it."""
        told = {key: self.reply[key] for key in ("finding", "canonical", "request_id")}
        (segment,) = self.reply["label_names"]
        return PromptEntry(
            iso_time(),
            self.asked.prompt,
            self.asked.source,
            self.asked.laterality,
            self.viewer_laterality,
            segment=segment,
            model=model,
            version=self.reply["model_version"],
            client=client.id,
            address=client.address,
            user=user,
            **told,
        )


class TextSegInfer(InferTask):
    """One model as MONAI Label's clients see it: type segmentation, one label, a free-text prompt."""

    def __init__(self, current: CurrentPredictor) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={CLASS_LABEL: 1},
            dimension=2,
            description=f"{current.spec.title}. Write what to segment into `prompt`, in the patient's sides.",
        )
        self.current = current
        # Not the common temporary folder: a client on this machine saves there under the same name.
        self._folder = temporary_folder()
        self.folder = Path(self._folder.name)  # for the files of masks on their way

    def is_valid(self) -> bool:
        """The model is loaded before the first request, or the server does not start."""
        return True

    def config(self) -> dict[str, Any]:
        """The options as a viewer shows them, with the threshold of the version that serves."""
        return infer_config(self.current.get().threshold)

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """As MONAI Label asks a task: request holds the options and `image`, a path; returns mask file and reply."""
        outcome = self.run(Job(request, Path(request["image"]), current_caller().request_id))
        return str(outcome.file), outcome.reply

    def run(self, job: Job) -> Outcome:
        """Options, text, picture, mask, file. Raises TextSegError."""
        watch, predictor = Stopwatch(), self.current.get()
        with watch.measure("total"):
            options = read_options(job.options, predictor.threshold)
            asked = which_text(options, job, predictor.spoken)
            with watch.measure("read"):
                picture = read_picture(job.picture, options.modality, job.row.modality if job.row else "")
            prediction = predictor.predict(picture, Said.of(asked.reading), options.threshold, watch)
            with watch.measure("write"):
                file = write_new_mask(
                    picture, prediction.masks, self.folder, options.suffix, options.dtype, options.compress
                )
        reply = self._reply(job.request_id, predictor, asked, picture, prediction, watch)
        return Outcome(file, reply, picture, picture.view.undone(prediction.masks), asked, options.laterality)

    def _reply(
        self,
        request_id: str,
        predictor: Predictor,
        asked: Asked,
        picture: Picture,
        prediction: Prediction,
        watch: Stopwatch,
    ) -> dict[str, Any]:
        finding = asked.reading.finding if asked.reading else None
        warnings = [*asked.warnings, *(asked.reading.warnings if asked.reading else ()), *prediction.warnings]
        if asked.source == NONE:
            warnings.insert(0, NO_WORDS if predictor.verbatim else NO_PROMPT)
        logger.info("%s: text %s, %s", predictor.spec.name, asked.source, told(asked.prompt))
        return {
            "label_names": {segment_name(asked, picture, predictor): 1},
            "prompt": asked.prompt,
            "prompt_source": asked.source,
            "reads": predictor.reads,
            "finding": finding.to_json() if finding else None,
            "canonical": canonical(finding),
            "model_name": predictor.spec.name,
            "model_version": predictor.version,
            "warnings": warnings,
            "latencies": {name: round(seconds, 4) for name, seconds in watch.seconds.items()},
            "request_id": request_id,
            "api": API,
        }


def which_text(options: InferOptions, job: Job, spoken: str | None = None) -> Asked:
    """The prompt, else the preset (patient sides), else what was remembered for this picture, else its row in
    prompts.csv (its own laterality, else patient), else none. spoken: as in `read_prompt`.

    Raises PromptError or OptionError when the text that counts cannot be used; for a run that nobody asked for, there
    is no error: the next text counts.
    """
    prompt, preset = ("", "") if job.carried_over else (check_text(options.prompt), check_text(options.preset))
    warnings = [job.row_fault] if job.row_fault else []
    if prompt.strip():
        reading = read_prompt(prompt, options.laterality, spoken)
        return Asked(prompt, TYPED, reading, options.laterality, tuple(warnings))
    if preset.strip():
        return Asked(preset, PRESET, read_prompt(preset, spoken=spoken), warnings=tuple(warnings))
    for text, source, laterality, where in _stored(job):
        try:
            reading = read_prompt(text, laterality, spoken)
        except (PromptError, OptionError) as error:
            if not job.carried_over:
                raise type(error)(f"{where} cannot be used. {error}") from error
            warnings.append(f"{where} cannot be used. {error}")
        else:
            return Asked(text, source, reading, laterality, tuple(warnings))
    if job.row_fault and not job.carried_over:
        raise DataError(job.row_fault)
    return Asked("", NONE, None, warnings=tuple(warnings))


def _stored(job: Job) -> Iterator[tuple[str, str, str, str]]:
    """What is known of the picture: text, source, laterality, and where it comes from."""
    if job.remembered is not None:
        yield job.remembered.prompt, REMEMBERED, job.remembered.laterality, "The prompt remembered for this picture"
    if job.row and job.row.prompt:
        yield job.row.prompt, CSV, job.row.laterality or "patient", "The picture's row in prompts.csv"


def segment_name(asked: Asked, picture: Picture, predictor: Predictor) -> str:
    """What a Slicer user sees: the patient-side reading or, of a model that reads words, the user's words; ASCII, led
    by marks where safety is touched.
    """
    marks = {
        "no prompt": asked.source == NONE,
        "remembered": asked.source == REMEMBERED,
        "from CSV": asked.source == CSV,
        "sides unknown": not picture.sides_known,
        f"{picture.modality.upper()} unseen": picture.modality not in predictor.spec.modalities,
    }
    lead = ", ".join(mark for mark, holds in marks.items() if holds)
    if predictor.verbatim:
        name = words_name(asked.prompt, asked.laterality)
    else:
        name = short_name(asked.reading.finding if asked.reading else None)
    return f"[{lead}] {name}" if lead else name
