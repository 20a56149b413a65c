"""What is left to do, as data: what serves, what is labelled, how far a training is, which pictures come next, and a
sentence that says what to do next. The command line and the server's page tell the same.
"""

from dataclasses import asdict, dataclass
from typing import Any

from textseg.learning.progress import FAILED, STOPPED, TRAINING

SCHEMA = 1
ENOUGH = 20  # new labels after which a training is worth its time
EMPTY = (
    "There are no pictures yet. Copy X-rays (PNG, JPEG, DICOM, NIfTI, NRRD) into the studies folder, and their prompts "
    "into a prompts.csv beside them (columns image,prompt)."
)
ARCHIVE = "The pictures lie in a DICOMweb archive: open them in OHIF. What is labelled there is not counted here."
CORRECT = "Correct the labels that were left out or that contradict their prompts, submit them, and train again."
HOW = "(Train in 3D Slicer, Update Model in OHIF)"


@dataclass(frozen=True)
class VerdictFacts:
    """What the gate said of a model's last candidate. time: ISO 8601."""

    version: str
    accepted: bool
    time: str
    sentence: str


@dataclass(frozen=True)
class TrainingFacts:
    """A model's last training. state: training, done, failed or stopped. sentence: what became of it, at its end.

    labels: how many there were, in words. left_out: sentences about labels that were not trained on. started: ISO 8601.
    """

    state: str
    epoch: int = 0
    epochs: int = 0
    time: str = ""
    sentence: str = ""
    labels: str = ""
    left_out: tuple[str, ...] = ()
    started: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """version: which serves, None: none can. why, since: published or rolled back, and when. told: what is wrong."""

    name: str
    version: str | None
    why: str = ""
    since: str = ""
    told: tuple[str, ...] = ()
    verdict: VerdictFacts | None = None
    training: TrainingFacts | None = None


@dataclass(frozen=True)
class PictureFacts:
    """How many pictures there are, with and without a final label and a prompt.

    to_prompt: of those without a label, those without a prompt. original: without a final label, but with a mask that
    was saved as `original`. labelled_since: labelled since the last training began. held_out: of the labelled ones.
    """

    total: int = 0
    labelled: int = 0
    unlabelled: int = 0
    with_prompt: int = 0
    without_prompt: int = 0
    to_prompt: int = 0
    original: int = 0
    labelled_since: int = 0
    held_out: int = 0


@dataclass(frozen=True)
class BestPicture:
    """A picture that is worth labelling. score: 0..1, None: not known. reason: a sentence. prompt: as written, "" for
    none. source: remembered, csv or "". read_as: the remembered one, as it was read. mask: original, run or "" (none).
    """

    picture: str
    score: float | None
    reason: str
    prompt: str = ""
    source: str = ""
    read_as: str = ""
    mask: str = ""


@dataclass(frozen=True)
class Status:
    """All of it. pictures: None for a DICOMweb archive. faults: what could not be told, sentences."""

    models: tuple[ModelFacts, ...]
    pictures: PictureFacts | None
    best: tuple[BestPicture, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def next_step(self) -> str:
        """What to do next, in a sentence or two."""
        return next_step(self)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"schema": SCHEMA, "next": self.next_step, **asdict(self)}


def next_step(status: Status) -> str:
    """The most urgent thing first: what cannot serve, what is missing, what runs, what failed, what to label."""
    if not any(model.version for model in status.models):
        return " ".join(("No model can serve.", *(told for model in status.models for told in model.told)))
    running = next((model for model in status.models if _state(model) == TRAINING), None)
    if running:
        return _while_training(running)
    if status.pictures is None:
        return ARCHIVE
    if not status.pictures.total:
        return EMPTY
    return _after_training(status) or _label_or_train(status, status.pictures)


def _state(model: ModelFacts) -> str:
    return model.training.state if model.training else ""


def _while_training(model: ModelFacts) -> str:
    return (
        f"{model.name} is being trained, and {model.version} goes on serving. Go on labelling: what is submitted now "
        "counts in the next training. Look here again for the verdict."
    )


def _after_training(status: Status) -> str:
    """What a training that failed, or whose candidate was kept back, leaves to do; "" where that is done."""
    if status.pictures is None or status.pictures.labelled_since:
        return ""
    failed = next((model for model in status.models if _state(model) in (FAILED, STOPPED)), None)
    if failed and failed.training:
        return (
            f"The last training of {failed.name} did not come to its end ({failed.training.sentence}). Mend what it "
            f"names, if anything, then train again {HOW}."
        )
    kept = next((model for model in status.models if model.verdict and not model.verdict.accepted), None)
    if kept is None:
        return ""
    more = f"Label more pictures{_first(status)}, then train again {HOW}." if status.pictures.unlabelled else CORRECT
    return f"The last candidate of {kept.name} was kept back, and {kept.version} goes on serving. {more}"


def _label_or_train(status: Status, pictures: PictureFacts) -> str:
    since = pictures.labelled_since
    if not pictures.unlabelled and since:
        return f"Every picture has a final label, {since} since the last training: train now {HOW}."
    if not pictures.unlabelled:
        return "Every picture has a final label and was learnt from. Copy more pictures into the studies folder."
    label = f"Click Next Sample in 3D Slicer, write what you see, correct the mask, submit{_first(status)}."
    if since >= ENOUGH:
        label = f"{since} pictures were labelled since the last training: train now {HOW}, or go on{_first(status)}."
    if not pictures.to_prompt:
        return label
    return (
        f"{label} Without a label and a prompt: {pictures.to_prompt}. Write their prompts into prompts.csv beside the "
        "pictures (columns image,prompt), or when they come."
    )


def _first(status: Status) -> str:
    return f" ({status.best[0].picture} comes first)" if status.best else ""
