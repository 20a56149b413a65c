"""What the shipped models were trained on is known, so that none of it scores what is learnt from corrections."""

import csv
from pathlib import Path

import pytest

from textseg.data.seen import SUFFIX, Seen
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.read import read_picture
from textseg.learning.retrain import seen_by
from textseg.learning.versions import Versions
from textseg.registry import MODELS

SHIPPED = [spec for spec in MODELS.values() if spec.has_weights]


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.name)
def test_pictures_of_a_shipped_model_are_known(spec, tmp_path):
    served = Versions(tmp_path / "none", spec).served()
    assert len(seen_by(spec, served)) > served.manifest["data"]["rows"]  # and those that chose the epoch


def test_of_a_public_set_the_pictures_it_was_trained_on_are_known_and_no_others(shared, tmp_path):
    data, spec = shared / "data" / "qata_cov19", SHIPPED[0]
    if not data.is_dir():
        pytest.skip("the public pictures are not here")
    seen = seen_by(spec, Versions(tmp_path / "none", spec).served())
    rows = list(csv.DictReader((data / "labels.csv").open()))
    for split, known in (("train", True), ("valid", True), ("test", False)):
        names = [row["image"] for row in rows if row["split"] == split][:10]
        pictures = [read_picture(data / "images" / name) for name in names]
        assert [pixels_sha256(picture) in seen for picture in pictures] == [known] * 10


def test_weights_own_file_goes_before_that_of_their_data(tmp_path: Path):
    weights = tmp_path / "m.safetensors"
    assert len(Seen.beside(weights, "set")) == 0
    Seen(["00" * 32, "11" * 32]).write(tmp_path / f"set{SUFFIX}")
    assert len(Seen.beside(weights, "set")) == 2
    Seen(["00" * 32]).write(weights.with_suffix(SUFFIX))
    assert len(Seen.beside(weights, "set")) == 1
