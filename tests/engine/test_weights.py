"""Weights on disk: what is stored comes back, what was changed or does not fit is refused, what ships is complete."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from textseg.engine.build import build_network
from textseg.engine.predictor import Predictor
from textseg.engine.ready import not_ready, read_manifest, sha256_of
from textseg.engine.weights import load_stored, save_weights, take_encoder, write_manifest
from textseg.errors import WeightsMissing
from textseg.registry import DEFAULT_MODEL, MODELS

SPEC = MODELS["c2fvl-compact"]
SMALLER = replace(SPEC, settings=MappingProxyType({**SPEC.settings, "width": 8}))
SHIPPED = [spec for spec in MODELS.values() if spec.has_weights]
MANIFEST = {"name": SPEC.name, "threshold": 0.4, "note": "drawn at random"}
MANIFEST_KEYS = {"data", "recipe", "seed", "seconds", "metrics", "licence", "sha256", "threshold", "version", "schema"}


@pytest.fixture(scope="module")
def network():
    """An untrained network with running statistics that differ from a new one's."""
    torch.manual_seed(5)
    network = build_network(SPEC)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_()
    return network.eval()


@pytest.fixture
def stored(network, tmp_path):
    """The network's weights in a file."""
    path = tmp_path / "deep" / "mine.safetensors"
    save_weights(network, path, MANIFEST)
    return path


def test_what_is_stored_comes_back_in_half_precision(network, stored):
    before, after = network.state_dict(), load_stored(SPEC, stored)[0].state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert after[key].dtype == value.dtype
        assert torch.equal(after[key], value.half().float() if value.is_floating_point() else value), key


def test_the_file_is_half_as_large_as_the_network(network, stored):
    values = sum(value.numel() for value in network.state_dict().values() if value.is_floating_point())
    assert 2 * values < stored.stat().st_size < 2.1 * values
    assert {value.dtype for value in load_file(stored).values()} <= {torch.float16, torch.int64}


def test_whoever_may_read_the_manifest_may_read_the_weights(stored):
    assert stored.stat().st_mode == stored.with_suffix(".json").stat().st_mode


def test_a_loaded_network_answers_like_the_stored_one(network, stored):
    picture, text = torch.rand(1, 3, 224, 224), torch.ones(1, 8)
    loaded = load_stored(SPEC, stored)[0]
    assert not loaded.training
    with torch.inference_mode():
        difference = (torch.sigmoid(loaded(picture, text)) - torch.sigmoid(network(picture, text))).abs().max()
    assert difference < 0.02


def test_the_manifest_keeps_what_was_said_and_adds_the_files_hash(stored):
    manifest = read_manifest(stored)
    assert manifest.items() >= MANIFEST.items()
    assert manifest["sha256"] == sha256_of(stored) and manifest["schema"] == 1
    assert sorted(path.name for path in stored.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_a_predictor_takes_threshold_and_version_from_the_manifest(stored):
    write_manifest(stored, {**read_manifest(stored), "version": "v0042"})
    predictor = Predictor.load(SPEC, stored)
    assert (predictor.threshold, predictor.version) == (0.4, "v0042")


def test_saving_over_older_weights_replaces_both_files(network, stored):
    first = read_manifest(stored)["sha256"]
    changed = build_network(SPEC)
    save_weights(changed, stored, {**MANIFEST, "note": "second"})
    assert read_manifest(stored)["note"] == "second" and read_manifest(stored)["sha256"] != first
    assert load_stored(SPEC, stored)


@pytest.mark.parametrize("place", [100, -1])
def test_a_changed_byte_is_found(stored, place):
    content = bytearray(stored.read_bytes())
    content[place] ^= 1
    stored.write_bytes(content)
    with pytest.raises(WeightsMissing, match=r"mine\.safetensors is not the file.*sha-256.*Install it again"):
        load_stored(SPEC, stored)


def test_half_a_file_is_found(stored):
    stored.write_bytes(stored.read_bytes()[: stored.stat().st_size // 2])
    with pytest.raises(WeightsMissing, match=r"mine\.safetensors is not the file"):
        load_stored(SPEC, stored)


@pytest.mark.parametrize("text", [None, "", "{ half a manif"])
def test_a_missing_or_damaged_manifest_is_named(stored, text):
    manifest = stored.with_suffix(".json")
    manifest.unlink() if text is None else manifest.write_text(text)
    for load in (lambda: load_stored(SPEC, stored), lambda: Predictor.load(SPEC, stored)):
        with pytest.raises(WeightsMissing, match=r"manifest mine\.json is missing or damaged"):
            load()


def test_missing_weights_say_how_to_train_them(tmp_path):
    with pytest.raises(WeightsMissing, match=r"no weights file .*gone\.safetensors.*textseg train c2fvl-compact"):
        load_stored(SPEC, tmp_path / "gone.safetensors")


def test_missing_weights_are_told_before_a_missing_manifest(stored):
    stored.with_suffix(".json").unlink()
    stored.unlink()
    with pytest.raises(WeightsMissing, match=r"There is no weights file .*mine\.safetensors"):
        Predictor.load(SPEC, stored)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"settings": {**SPEC.settings, "width": 8}}, "width 8, here 16"),
        ({"settings": {"width": 16}}, "encoder not set, here tf_efficientnet_lite0"),
        ({"network": "tgcam", "settings": dict(SPEC.settings)}, "network tgcam, here c2fvl"),
        ({"input_size": 256}, "input_size 256, here 224"),
    ],
)
def test_other_settings_than_the_models_are_named(stored, told, named):
    write_manifest(stored, {**read_manifest(stored), **told})
    with pytest.raises(WeightsMissing, match=rf"mine\.safetensors was trained with other settings.*: {named}\."):
        load_stored(SPEC, stored)


def test_settings_that_are_told_as_the_model_has_them_are_taken(stored):
    spec = replace(SPEC, settings=MappingProxyType({**SPEC.settings, "widths": (1, 2)}))
    told = {"network": spec.network, "settings": dict(spec.settings), "input_size": spec.input_size}
    write_manifest(stored, {**read_manifest(stored), **told})
    assert not_ready(spec, stored) is None


def test_another_networks_weights_are_refused(stored):
    with pytest.raises(WeightsMissing, match="does not fit the network c2fvl-compact"):
        load_stored(SMALLER, stored)


def test_a_file_of_another_kind_is_refused_even_with_its_hash(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"these are no tensors" * 9)
    write_manifest(path, {**MANIFEST, "sha256": sha256_of(path)})
    with pytest.raises(WeightsMissing, match="does not fit the network"):
        load_stored(SPEC, path)


def test_a_missing_tensor_is_refused(stored):
    tensors = load_file(stored)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, stored)
    write_manifest(stored, {**MANIFEST, "sha256": sha256_of(stored)})
    with pytest.raises(WeightsMissing, match="does not fit the network"):
        load_stored(SPEC, stored)


def test_the_default_model_is_shipped():
    assert DEFAULT_MODEL in {spec.name for spec in SHIPPED}


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.name)
class TestShippedWeights:
    """Every weights file of the registry that is here."""

    def test_they_fit_a_25_mb_file(self, spec):
        assert spec.weights_path.stat().st_size < 25_000_000

    def test_they_load_and_have_the_parameters_that_the_registry_names(self, spec):
        network = load_stored(spec)[0]
        assert sum(weight.numel() for weight in network.parameters()) == spec.parameters
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())

    def test_the_manifest_says_where_they_come_from(self, spec):
        manifest = read_manifest(spec.weights_path)
        assert manifest.keys() >= MANIFEST_KEYS
        assert manifest["name"] == spec.name and "interim" not in manifest
        assert manifest["data"]["rows"] > 0 and manifest["seconds"] > 0 and isinstance(manifest["seed"], int)
        assert manifest["recipe"]["epochs"] >= 1 and manifest["licence"]
        assert 0 < manifest["threshold"] < 1
        json.dumps(manifest, allow_nan=False)

    def test_the_manifest_gives_the_figures_of_all_texts(self, spec):
        texts = read_manifest(spec.weights_path)["metrics"]["validation"]["texts"]
        assert set(texts) == {"right", "none", "shuffled", "mirrored"}
        assert 0 < texts["mirrored"]["dice_image"] < texts["right"]["dice_image"] < 1

    def test_they_are_stored_in_half_precision(self, spec):
        with safe_open(spec.weights_path, "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}


def test_an_image_encoder_can_be_that_of_another_models_shipped_weights():
    given = build_network(MODELS["reclmis-compact"])
    told = take_encoder(given, SPEC)
    shipped = load_stored(SPEC)[0].encoder.features.state_dict()
    assert all(torch.equal(value, shipped[key]) for key, value in given.encoder.features.state_dict().items())
    assert told.startswith("image encoder of c2fvl-compact v0000, sha-256 ")


def test_another_image_encoder_and_one_without_weights_are_refused():
    with pytest.raises(WeightsMissing, match="another one than this model has"):
        take_encoder(build_network(MODELS["reclmis"]), SPEC)
    with pytest.raises(WeightsMissing, match="no weights here"):
        take_encoder(build_network(MODELS["reclmis-compact"]), MODELS["c2fvl"])
