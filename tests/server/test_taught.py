"""A round of a learning curve through a real server: what is taught arrives as if a person had done it in Slicer."""

from pathlib import Path

import pytest
from PIL import Image

from harness import APP
from textseg.data.records import Record, read_records
from textseg.data.store.shown import FINAL
from textseg.data.store.store import Store
from textseg.errors import OptionError
from textseg.imaging.labels import read_label
from textseg.imaging.read import read_picture
from textseg.learning.curve import Curve, Site
from textseg.learning.lessons import Source, corrected
from textseg.server.taught import TeachOverHttp
from training import PLACES, SPEC, draw


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """One that knows the shipped weights, and is taught for one epoch."""
    curve = Curve(SPEC, Source(tmp_path / "data"), base=0, epochs=1)
    (tmp_path / "site" / "studies" / ".textseg").mkdir(parents=True)
    return Site(curve, tmp_path / "site", None, 1)


def records_of(folder: Path) -> list[Record]:
    """Drawn pictures as a data set."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    masks = draw(folder)
    for name, mask in masks.items():
        (folder / f"{name}.png").rename(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    return read_records(folder)


def test_labels_are_kept_with_the_prompt_that_was_run_and_a_verdict_is_waited_for(site, tmp_path):
    labels = corrected(records_of(tmp_path / "data"), tmp_path / "labels")
    TeachOverHttp(APP)(site, [], labels)
    verdict = site.versions.verdicts()[-1]
    assert verdict.sentence.startswith(("published v0001: ", "kept v0000: "))
    samples = verdict.report["samples"]
    assert samples["corrections"] + samples["held_out"] == len(PLACES) and not verdict.report["left_out"]
    store = Store(site.studies)
    for label in labels:
        version = store.current_label(label.name, FINAL)
        (segment,) = version.segments
        assert (segment.source, segment.prompt, version.by) == ("run", label.segments[0].prompt, "person")
        picture = read_picture(label.image)
        kept, given = (
            read_label(path, picture) for path in (store.label_path(label.name, FINAL, version), label.label)
        )
        assert (kept == given).all() and given.any()


def test_without_an_app_nothing_is_started(site, tmp_path):
    with pytest.raises(OptionError, match="holds no main"):
        TeachOverHttp(tmp_path)(site, [], [])
