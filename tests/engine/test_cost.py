"""What `textseg cost` tells: the figures of the design notes, nothing left out, nothing changed by counting."""

import contextlib
import io
import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textseg.cli import main
from textseg.engine.cost import PROMPT, multiply_adds, network_cost
from textseg.registry import MODELS
from textseg.text.compact import CompactText
from textseg.text.encoder import TextEncoder
from textseg.text.tokens import LENGTH, WordTokens

COUNTED = ("c2fvl", "tgcam")


pytestmark = pytest.mark.usefixtures("one_thread")


def told(*arguments: str) -> str:
    """What the command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(["cost", *arguments]) == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads(told(*COUNTED, COUNTED[0], "--json"))


@pytest.fixture(scope="module")
def models(report) -> dict[str, dict]:
    return {model["name"]: model for model in report["models"]}


class Words(TextEncoder):
    """One table of 4 columns, and never trained."""

    frozen = True

    def __init__(self) -> None:
        super().__init__(WordTokens(), WordTokens().words, 4)
        self.table = nn.Embedding(len(self.vocabulary), 4)
        self.map = nn.Linear(4, 4)  # 24 x 4 x 4 = 384
        self.requires_grad_(False)

    def encode(self, tokens: Tensor) -> Tensor:
        return self.map(self.table(tokens))


class Small(nn.Module):
    """The contract of a network in a few operations of known cost; `head` runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.text_encoder = Words()
        self.picture = nn.Conv2d(3, 4, 3, padding=1)  # 4 x 27 + 4 weights; 8 x 8 x 4 x 27 = 6912
        self.words = nn.Linear(4, 4)  # 20 weights; 24 x 4 x 4 = 384
        self.mask = nn.Linear(4, 1, bias=False)  # 4 weights; 64 x 4 = 256
        self.head = nn.Linear(4, 4)  # 20 weights

    def encode_image(self, image: Tensor) -> Tensor:
        return self.picture(image).flatten(2).transpose(1, 2)

    def encode_prompt(self, text: Tensor) -> Tensor:
        return self.words(self.text_encoder(text)[0])

    def segment(self, pixels: Tensor, words: Tensor) -> Tensor:
        read = F.scaled_dot_product_attention(pixels, words, words)  # 2 x 64 x 24 x 4 = 12288
        return self.mask(self.head(read) if self.training else read)

    def for_inference(self) -> "Small":
        served = Small().eval()
        served.load_state_dict(self.state_dict())
        return served


def test_tgcam_costs_what_the_design_note_says(models):
    weights, counted = models["tgcam"]["weights"], models["tgcam"]["multiply_adds"]
    assert weights == {
        "total": 148_121_017,
        "trainable": 39_229_369,
        "inference": 148_121_017 - 2 * (384 + 192 + 96),  # scale and shift of the decoder's norms become one bias
        "text_encoder": 108_891_648,
        "text_encoder_frozen": True,
    }
    assert counted["text_encoder"] == pytest.approx(2.05e9, abs=0.005e9)
    # The note's 4.47 and 3.90 hold norms too, and CAM's products in the order of print, 0.011 more than ours.
    assert counted["picture"] == pytest.approx(4.47e9, abs=0.02e9)
    assert counted["words"] + counted["segment"] == pytest.approx(3.90e9, abs=0.02e9)
    assert counted["total"] == pytest.approx(10.42e9, abs=0.04e9)


def test_c2fvl_costs_what_the_design_note_says_less_its_exact_rewritings(models):
    weights, counted = models["c2fvl"]["weights"], models["c2fvl"]["multiply_adds"]
    widths = (64, 128, 256, 512)
    assert weights["total"] == weights["trainable"] == MODELS["c2fvl"].parameters == 24_196_088
    # Of the note: one of two maps in both branches of VLAB; R at 14 x 14; no maps for training.
    gates = sum(2 * c * c * (224 // 2**level) ** 2 for level, c in enumerate(widths))
    rebuilt = sum(c * c * ((224 // 2**level) ** 2 - 14**2) for level, c in enumerate(widths))
    maps = sum(c * 224**2 for c in widths)
    assert counted["total"] == pytest.approx(27.80e9 - gates - rebuilt - maps, abs=0.005e9)
    assert counted["text_encoder"] == counted["words"] == weights["text_encoder"] == 0
    # Gone: the maps of training, one map of each branch (c x c), and a scale and a shift per running mean but those of
    # the transformer branch (64 + 128 + 256), which are not folded.
    gone = sum(2 * c * c for c in widths) + (129 + 257 + 513) + 2 * (5_312 - 448)
    assert weights["inference"] == 24_196_088 - gone


def test_parts_add_up_and_each_model_is_told_once(report, models):
    assert [model["name"] for model in report["models"]] == list(COUNTED)
    assert report["batch"] == 1 and "convolutions" in report["counted"]
    for model in models.values():
        *parts, total = model["multiply_adds"].values()
        assert sum(parts) == total > 0
        assert model["input_size"] == 224


def test_published_figures_come_with_how_they_were_counted(models):
    assert "batch of two" in models["c2fvl"]["published"]["note"]
    assert models["tgcam"]["published"] is None


def test_every_product_of_a_small_network_is_counted_and_what_only_training_runs_is_not():
    torch.manual_seed(0)
    network = Small()
    weights, counted = network_cost(network, 8)
    text = 4 * len(WordTokens().words) + 20
    assert (weights.total, weights.trainable) == (112 + 20 + 4 + 20 + text, 112 + 20 + 4 + 20)
    assert (weights.inference, weights.text_encoder) == (112 + 20 + 4 + text, text)
    assert (counted.picture, counted.text_encoder, counted.words) == (6912, 384, 384)
    assert (counted.segment, counted.total) == (12288 + 256, 6912 + 2 * 384 + 12288 + 256)


def test_a_transformer_layer_is_counted_though_evaluation_fuses_it():
    encoder = CompactText(width=8, layers=2, heads=2).eval().requires_grad_(False)
    tokens = torch.tensor([encoder.tokenizer(PROMPT)])
    counted, (vectors, _) = multiply_adds(lambda: encoder(tokens))
    assert counted == 2 * (LENGTH * (4 + 2 * 4) * 8 * 8 + 2 * LENGTH * LENGTH * 8)
    with torch.no_grad():
        assert torch.allclose(vectors, encoder(tokens)[0], atol=1e-5)


def test_counting_leaves_the_model_and_torch_as_they_were():
    network, fused = Small(), torch.backends.mha.get_fastpath_enabled()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    first = network_cost(network, 8)
    assert network.training and network.head.weight.requires_grad and network.head.weight.grad is None
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() is fused
    assert network_cost(network, 8) == first


def test_times_stand_beside_a_full_pass_of_c2fvl_of_the_same_run():
    timed = json.loads(told("c2fvl-compact", "--time", "--repeats", "1", "--json"))["time"]
    assert (timed["repeats"], timed["threads"], timed["reference"]) == (1, torch.get_num_threads(), "c2fvl")
    assert list(timed["models"]) == ["c2fvl-compact", "c2fvl"] and timed["models"]["c2fvl"]["of_reference"] == 1
    ours, reference = timed["models"].values()
    assert ours["of_reference"] == pytest.approx(ours["full"] / reference["full"])
    assert all(0 < one["new_prompt"] < one["full"] for one in (ours, reference))


def test_people_read_a_row_per_model_with_batch_and_what_is_counted():
    lines = told("c2fvl-compact").splitlines()
    assert "batch 1" in lines[0] and any("not counted" in line for line in lines)
    assert lines[2].split()[:3] == ["c2fvl-compact", "3.788", "3.788"]
    assert lines[-1] == "No published figures at hand: c2fvl-compact"


@pytest.mark.parametrize("arguments", [["unet"], ["c2fvl", "unet"], ["c2fvl", "--time", "--repeats", "0"]])
def test_what_cannot_be_told_ends_with_2_and_a_sentence(arguments, capsys):
    assert main(["cost", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("textseg: ")
