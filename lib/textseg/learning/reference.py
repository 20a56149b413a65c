"""The reference set: what every candidate must still do, out of reach of what is submitted.

Drawn phantoms, the same ones everywhere, and a site's own pictures where it names a folder of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from textseg.data.phantoms import draw_radiograph, random_places
from textseg.data.prompts_table import TABLE
from textseg.data.records import Record, data_folder, read_records
from textseg.errors import OptionError
from textseg.imaging.picture import XRAY
from textseg.registry import ModelSpec
from textseg.text.sentence import canonical

PHANTOMS, SIZE = 40, 320
FIRST_SEED = 1_000_000  # no training draws these: its pictures are counted from 1, or from the time in seconds


@contextmanager
def reference_records(spec: ModelSpec, own: Path | None, spoken: str | None = None) -> Iterator[list[Record]]:
    """The records of the reference set for the time of the `with`.

    own: a folder or zip as `textseg evaluate` takes it, in patient sides where it does not say otherwise. spoken: see
    `read_records`. Raises OptionError for a model that phantoms say nothing about when there is no such folder, and
    DataError for one that is not laid out as it must be.
    """
    with TemporaryDirectory(prefix="textseg-reference-") as drawn:
        records = []
        if XRAY in spec.modalities and spoken is None:
            write_phantoms(Path(drawn))
            records += read_records(Path(drawn))
        if own is None:
            _check(spec, records)
            yield records
            return
        with data_folder(own) as folder:
            yield records + read_records(folder, spoken=spoken)


def write_phantoms(folder: Path) -> None:
    """Draw the reference phantoms as a data set: images/, masks/ and prompts.csv, patient sides."""
    random = np.random.default_rng(FIRST_SEED)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    lines = ["image,prompt"]
    for number in range(PHANTOMS):
        phantom = draw_radiograph(random_places(random), FIRST_SEED + number, SIZE)
        Image.fromarray(phantom.image).save(folder / "images" / f"phantom{number:03d}.png")
        Image.fromarray(phantom.mask * 255).save(folder / "masks" / f"phantom{number:03d}.png")
        lines.append(f'phantom{number:03d},"{canonical(phantom.finding)}"')
    (folder / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check(spec: ModelSpec, records: list[Record]) -> None:
    if not records:
        raise OptionError(
            f"There is no reference set for {spec.name}: drawn radiographs say nothing about it. Name a folder with "
            "pictures, masks and prompts of its kind: --conf reference FOLDER."
        )
