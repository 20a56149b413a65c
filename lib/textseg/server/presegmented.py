"""A picture that was segmented beforehand: Slicer's own run after Next Sample gives that same mask once more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from textseg.data.store.labels import MACHINE, LabelVersion
from textseg.data.store.shown import ORIGINAL
from textseg.engine.predictor import Stopwatch
from textseg.imaging.labels import read_label
from textseg.imaging.read import read_picture
from textseg.imaging.write import write_new_mask
from textseg.server.infer import Job, which_text
from textseg.server.options import read_options
from textseg.server.studies import Studies

SHOWN = "This is the mask that was made beforehand. Click Run for a new one."


def shown_again(datastore: Datastore, job: Job, folder: Path, spoken: str | None = None) -> dict[str, Any] | None:
    """The `original` label as the answer of a run: its reply, and a new file in `folder`, which the caller removes.

    None where the request is not the one that the viewer sends by itself, where no such label was made by a model with
    names for its segments, and where other words count for the picture since: a person chose them, or prompts.csv has
    them now. spoken: as in `read_prompt`. Raises TextSegError.
    """
    if not job.carried_over or not isinstance(datastore, Studies) or job.options.get("save_label"):
        return None
    image_id, store = str(job.options["image"]), datastore.keeping.store
    version = store.current_label(image_id, ORIGINAL)
    reply = _reply(version) if version is not None and version.by == MACHINE else None
    if version is None or reply is None or _is_asked_otherwise(version, job, spoken):
        return None
    watch, options = Stopwatch(), read_options(job.options, 0.5)
    with watch.measure("total"):
        picture = read_picture(job.picture, options.modality, job.row.modality if job.row else "")
        shown = picture.view.displayed(read_label(store.label_path(image_id, ORIGINAL, version), picture))
        file = write_new_mask(picture, shown, folder, options.suffix, options.dtype, options.compress)
    reply |= {
        "warnings": [SHOWN, *(reply.get("warnings") or ())],
        "latencies": {name: round(seconds, 4) for name, seconds in watch.seconds.items()},
        "request_id": job.request_id,
    }
    return {"label": str(file), "tag": ORIGINAL, "file": str(file), "params": reply}


def _reply(version: LabelVersion) -> dict[str, Any] | None:
    """What the run said that made it; None where that names no segments."""
    params = version.info.get("params")
    named = isinstance(params, Mapping) and isinstance(params.get("label_names"), Mapping) and params["label_names"]
    return dict(params) if named else None


def _is_asked_otherwise(version: LabelVersion, job: Job, spoken: str | None) -> bool:
    """Whether a run now would be asked in other words, or in words of other sides, than the mask was made with."""
    asked = which_text(read_options({}, 0.5), job, spoken)
    said = [(segment.prompt, segment.laterality) for segment in version.segments]
    return said != [(asked.prompt, asked.laterality)]
