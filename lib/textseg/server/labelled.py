"""What people labelled, as `learning` takes it: every final label of a person with its picture and its prompts."""

import logging
from collections.abc import Iterator
from pathlib import Path

from textseg.data.joined import join
from textseg.data.store.labels import PERSON, LabelledSegment, LabelVersion
from textseg.data.store.shown import FINAL
from textseg.errors import TextSegError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.labels import read_label
from textseg.imaging.patient import patient_of
from textseg.imaging.picture import XRAY
from textseg.imaging.read import read_picture
from textseg.learning.corrections import Labelled
from textseg.server.studies import Studies

logger = logging.getLogger(__name__)


def labelled_by_people(studies: Studies, left_out: list[str]) -> Iterator[Labelled]:
    """One after the other. left_out: gets a sentence, as the log does, for each that cannot be opened."""
    for name in studies.get_labeled_images():
        try:
            version = _by_person(studies, name)
            labelled = _labelled(studies, name, version) if version else None
        except (TextSegError, OSError) as error:
            left_out.append(f"{name}: {error}")
            logger.warning("not trained on: %s", left_out[-1])
            continue
        if labelled:
            yield labelled


def labelled_since(studies: Studies, time: str) -> list[str]:
    """Pictures whose final label a person gave after a time, ISO 8601; all of them for an empty one.

    One whose label cannot be told is not among them; the log says which.
    """
    return [name for name in studies.get_labeled_images() if _is_since(studies, name, time)]


def _is_since(studies: Studies, name: str, time: str) -> bool:
    try:
        version = _by_person(studies, name)
    except (TextSegError, OSError) as error:
        logger.warning("not counted as labelled: %s: %s", name, error)
        return False
    return version is not None and version.time > time


def _by_person(studies: Studies, name: str) -> LabelVersion | None:
    """The final label of a picture, where it is a person's. Raises StoreError, OSError for an unreadable side file."""
    version = studies.keeping.store.current_label(name, FINAL)
    return version if version and version.by == PERSON else None


def _labelled(studies: Studies, name: str, version: LabelVersion) -> Labelled:
    image = studies.picture_path(name)
    label = studies.keeping.store.label_path(name, FINAL, version)
    known = studies.keeping.known(name, image)
    pixels = studies.keeping.store.known(name).get("pixels_sha256") or pixels_sha256(read_picture(image, XRAY))
    row = known.row
    patient = (row.patient if row else "") or patient_of(image)
    segments = version.segments or _joined(studies, name, image, label)
    return Labelled(name, image, label, segments, pixels, patient, row.modality if row else "")


def _joined(studies: Studies, name: str, image: Path, label: Path) -> tuple[LabelledSegment, ...]:
    """The prompts of a label that was put into the folder by hand: nothing was sent with it."""
    return join(read_label(label, read_picture(image, XRAY)), None, studies.keeping.known(name, image)).segments
