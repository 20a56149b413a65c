"""What RecLMIS does in training alone: masking, both reconstructions worked out a second time, where gradients go."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_reclmis import LOWER_RIGHT, UPPER_LEFT, apart, small_network, tokens
from torch import Tensor, nn

from textseg.networks.reclmis_objective import RecLMISOutput, contrastive_loss, patch_loss, word_loss
from textseg.networks.reclmis_training import Prompt, Reconstruction, Reconstructor, Scores, drawn, without

WORDS, PATCHES, CHANNELS = 5, 6, 16

# -- Masking (section 7) --


@pytest.fixture
def vectors() -> Tensor:
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize(
    ("length", "share", "expected"),
    [(196, 0.5, 98), (196, 0.3, 58), (18, 0.3, 5), (15, 0.3, 4), (4, 0.3, 1), (2, 0.3, 1)],
)
def test_how_many_positions_are_hidden(length, share, expected):
    weights = torch.rand(3, length).softmax(dim=1)
    assert drawn(weights, torch.ones_like(weights, dtype=torch.bool), share).sum(dim=1).tolist() == [expected] * 3


def test_padding_is_never_drawn():
    allowed = torch.arange(18)[None] < torch.tensor([[4], [15], [18]])
    weights = torch.rand(3, 18).masked_fill(~allowed, 0.0)
    for seed in range(40):
        torch.manual_seed(seed)
        hidden = drawn(weights, allowed, 0.3)
        assert hidden.sum(dim=1).tolist() == [1, 4, 5] and not (hidden & ~allowed).any()


def test_positions_are_drawn_by_weight():
    torch.manual_seed(0)
    weights = torch.tensor([0.5, 0.3, 0.15, 0.05]).expand(20_000, 4)
    shares = drawn(weights, torch.ones_like(weights, dtype=torch.bool), 0.25).float().mean(dim=0)
    assert torch.allclose(shares, weights[0], atol=0.015)


def test_two_are_drawn_one_after_the_other():
    torch.manual_seed(0)
    weights = torch.tensor([0.6, 0.3, 0.1]).expand(20_000, 3)
    shares = drawn(weights, torch.ones_like(weights, dtype=torch.bool), 0.67).float().mean(dim=0)
    left_out = [0.3 * 0.1 / 0.7 + 0.1 * 0.3 / 0.9, 0.6 * 0.1 / 0.4 + 0.1 * 0.6 / 0.9, 0.6 * 0.3 / 0.4 + 0.3 * 0.6 / 0.7]
    assert torch.allclose(1 - shares, torch.tensor(left_out), atol=0.015)


def test_where_too_few_have_a_weight_the_rest_is_drawn_evenly():
    torch.manual_seed(0)
    weights = torch.tensor([1.0, 0, 0, 0, 0]).expand(10_000, 5)
    allowed = torch.tensor([True, True, True, True, False]).expand(10_000, 5)
    shares = drawn(weights, allowed, 0.5).float().mean(dim=0)
    assert torch.allclose(shares, torch.tensor([1, 1 / 3, 1 / 3, 1 / 3, 0]), atol=0.02)


def test_hidden_positions_are_zero_and_the_others_as_they_were(vectors):
    hidden = torch.tensor([[True, False, False, True, False]] * 2)
    left = without(vectors, hidden)
    assert not left[hidden].any() and torch.equal(left[~hidden], vectors[~hidden])


def test_scores_sum_to_one_over_the_words_that_are_there(vectors):
    present = torch.tensor([[True, True, False, False, False], [True] * 5])
    scores = Scores(16)(vectors, present)
    assert scores.sum(dim=1).tolist() == pytest.approx([1, 1]) and not scores[~present].any() and scores[present].all()


# -- Reconstruction (section 7) --


def stirred(layers: int = 1, sharp: bool = False, **settings: float) -> Reconstruction:
    """In evaluation mode, its biases and norms unlike fresh ones. sharp: nearly all weight on one position."""
    torch.manual_seed(6)
    reconstruction = Reconstruction(CHANNELS, layers, **settings).eval()
    with torch.no_grad():
        for weight in reconstruction.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        if sharp:
            for scores in (reconstruction.patch_scores, reconstruction.word_scores):
                scores[-1].weight.mul_(1e4)
    return reconstruction


def random_vectors(seed: int, count: int) -> Tensor:
    """2 x count x CHANNELS."""
    return torch.randn(2, count, CHANNELS, generator=torch.Generator().manual_seed(seed))


PRESENT = torch.tensor([[True, True, True, True, False], [True, True, True, False, False]])
PROMPT = Prompt(random_vectors(1, WORDS), random_vectors(2, WORDS), PRESENT, torch.arange(2 * WORDS).view(2, WORDS))
RAW, READ, INTEREST = random_vectors(3, PATCHES), random_vectors(4, PATCHES), random_vectors(5, WORDS)
HIDDEN = torch.tensor([[True, False, True, False, False, True], [False, True, True, False, True, False]])
HIDDEN_WORDS = torch.tensor([[False, True, False, False, False], [True, False, False, False, False]])
LOGITS = torch.zeros(2, 1, 4, 4)


def outcome(reconstruction: Reconstruction, *hidden: Tensor) -> RecLMISOutput:
    """hidden: of patches and of words; drawn where none are given."""
    return reconstruction(LOGITS, RAW, READ, INTEREST, PROMPT, *hidden)


def scored(scores: Scores, vectors: Tensor, present: Tensor | None = None) -> Tensor:
    """Linear, ReLU, linear, softmax over what is present."""
    first, first_bias, last, last_bias = scores.parameters()
    numbers = F.linear(F.linear(vectors, first, first_bias).relu(), last, last_bias)[..., 0]
    return F.softmax(numbers if present is None else numbers.where(present, -torch.inf), dim=1)


def rebuilt(reconstructor: Reconstructor, layers: int, masked: Tensor, condition: Tensor, weights: Tensor) -> Tensor:
    """Section 7 written out; it takes the reconstructor's tensors one after another, as section 15 orders them."""
    tensors = reconstructor.parameters()

    def linear(x: Tensor) -> Tensor:
        return F.linear(x, next(tensors), next(tensors))

    def norm(x: Tensor) -> Tensor:
        return F.layer_norm(x, (CHANNELS,), next(tensors), next(tensors), eps=1e-5)

    def attention(queries: Tensor, given: Tensor, gate: Tensor | None, causal: bool) -> Tensor:
        heads = []
        for q, k, v in zip(*(x.chunk(4, dim=2) for x in (linear(queries), linear(given), linear(given))), strict=True):
            close = torch.einsum("bqc,bkc->bqk", q / math.sqrt(CHANNELS / 4), k).exp()
            close = close.tril() if causal else close
            share = close / close.sum(dim=2, keepdim=True)
            if gate is not None:
                share = share * (gate[:, None, :] + 1e-10)
                share = share / share.sum(dim=2, keepdim=True)
            heads.append(torch.einsum("bqk,bkc->bqc", share, v))
        return linear(torch.cat(heads, dim=2))

    def perceptron(x: Tensor) -> Tensor:
        return linear(linear(x).relu())

    for _ in range(layers):
        condition = norm(condition + attention(condition, condition, weights, causal=True))
        condition = norm(condition + perceptron(condition))
    for _ in range(layers):
        masked = norm(masked + attention(masked, masked, None, causal=True))
        masked = norm(masked + attention(masked, condition, weights, causal=False))
        masked = norm(masked + perceptron(masked))
    assert next(tensors, None) is None
    return masked


def rebuilt_both(reconstruction: Reconstruction, w_v: Tensor, w_e: Tensor) -> tuple[Tensor, Tensor]:
    """V_hat: V, partly hidden, under the words. E_hat: the words, partly hidden, under V."""
    layers = len(reconstruction.to_patches.main)
    masked, masked_words = RAW * ~HIDDEN[..., None], PROMPT.words * ~HIDDEN_WORDS[..., None]
    return (
        rebuilt(reconstruction.to_patches, layers, masked, PROMPT.words, w_e),
        rebuilt(reconstruction.to_words, layers, masked_words, RAW, w_v),
    )


@pytest.mark.parametrize("sharp", [False, True], ids=["many patches and words weigh", "one weighs all"])
@pytest.mark.parametrize("layers", [1, 2])
def test_scores_and_reconstructions_are_what_the_equations_say(layers, sharp):
    reconstruction = stirred(layers, sharp)
    with torch.no_grad():
        found = outcome(reconstruction, HIDDEN, HIDDEN_WORDS)
        w_v, w_e = scored(reconstruction.patch_scores, READ), scored(reconstruction.word_scores, INTEREST, PRESENT)
        patches, words = rebuilt_both(reconstruction, w_v, w_e)
    assert not sharp or (w_v[:, 0].min() == 0 and w_e[:, 0].min() == 0)  # the first query reads nothing that weighs
    assert apart(found.patch_scores, w_v) < 1e-5 and apart(found.word_scores, w_e) < 1e-5
    assert apart(found.rebuilt_patches, patches) < 1e-5 and apart(found.rebuilt_words, words) < 1e-5


def drawn_by(reconstruction: Reconstruction, seed: int = 0) -> tuple[RecLMISOutput, Tensor, Tensor]:
    """The result with drawn positions, and which patches and words were hidden."""
    seen = []
    parts = (reconstruction.to_patches, reconstruction.to_words)
    hooks = [part.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for part in parts]
    torch.manual_seed(seed)
    output = outcome(reconstruction)
    for hook in hooks:
        hook.remove()
    return output, *(~masked.any(dim=2) for masked in seen)


def test_shares_of_patches_and_words_are_hidden_as_asked():
    for seed in range(8):
        _, hidden, hidden_words = drawn_by(stirred(mask_patches=0.5, mask_words=0.67), seed)
        assert hidden.sum(dim=1).tolist() == [3, 3] and hidden_words.sum(dim=1).tolist() == [2, 2]
        assert not (hidden_words & ~PRESENT).any()


def test_what_weighs_all_is_hidden_first():
    reconstruction = stirred(sharp=True, mask_patches=0.2, mask_words=0.3)
    output, hidden, hidden_words = drawn_by(reconstruction)
    assert torch.equal(hidden.int().argmax(dim=1), output.patch_scores.argmax(dim=1))
    assert torch.equal(hidden_words.int().argmax(dim=1), output.word_scores.argmax(dim=1))
    assert hidden.sum() == hidden_words.sum() == 2


@pytest.mark.parametrize("switches", [{}, {"mask_padding": False}], ids=["ours", "padding takes part"])
def test_the_network_hands_over_v_before_and_after_the_words_are_read(image, switches):
    network, seen = small_network(**switches).train(), {}
    of_parts = {
        "deep": (network.encoder, lambda maps: maps[-1]),
        "read": (network.interaction.text_to_vision, lambda read: read),
        "interest": (network.interaction.text_norm, lambda maps: maps.relu().mT),
        "words": (network.text_conv, lambda maps: maps.mT),
    }
    for name, (part, of) in of_parts.items():
        part.register_forward_hook(lambda _, __, out, name=name, of=of: seen.update({name: of(out)}))
    network.reconstruction.register_forward_pre_hook(lambda _, handed: seen.update(handed=handed))
    text = tokens(network, UPPER_LEFT)
    network(image, text)
    _, raw, read, interest, prompt = seen["handed"]
    assert torch.equal(raw[0, 14 * 3 + 5], seen["deep"][0, :, 3, 5]) and raw.shape[1] == 14 * 14
    assert torch.equal(read, seen["read"]) and torch.equal(interest, seen["interest"])
    vectors, present = network.text_encoder(text)
    assert torch.equal(prompt.words, seen["words"]) and torch.equal(prompt.present, present)
    assert torch.equal(prompt.target, vectors * present[..., None] if network.mask_padding else vectors)


# -- Dropout before the scores --


def test_dropout_before_the_scores_changes_nothing_but_the_scores():
    reconstruction = stirred(score_dropout=1.0)
    reconstruction.dropout.train()  # and no other one
    with torch.no_grad():
        found = outcome(reconstruction, HIDDEN, HIDDEN_WORDS)
        w_v, w_e = torch.full((2, PATCHES), 1 / PATCHES), PRESENT / PRESENT.sum(dim=1, keepdim=True)
        patches, words = rebuilt_both(reconstruction, w_v, w_e)
    assert apart(found.patch_scores, w_v) < 1e-6 and apart(found.word_scores, w_e) < 1e-6
    assert apart(found.rebuilt_patches, patches) < 1e-5 and apart(found.rebuilt_words, words) < 1e-5
    assert torch.equal(found.patches, READ) and torch.equal(found.raw, RAW) and torch.equal(found.words, PROMPT.words)


@pytest.mark.parametrize(("share", "training", "same"), [(0.5, True, False), (0.5, False, True), (0.0, True, True)])
def test_scores_vary_in_training_where_dropout_is_asked_for(share, training, same):
    reconstruction = stirred(score_dropout=share).train(training)
    plain, found = outcome(stirred()), outcome(reconstruction)
    assert torch.equal(plain.patch_scores, found.patch_scores) is same
    assert torch.equal(plain.word_scores, found.word_scores) is same


# -- Gradients --


def gradients(module: nn.Module) -> list[Tensor]:
    return [weight.grad for weight in module.parameters() if weight.ndim > 1 and weight.grad is not None]


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        pytest.param(patch_loss, {"word_scores"}, id="patches under words"),
        pytest.param(word_loss, {"patch_scores"}, id="words under patches"),
        pytest.param(contrastive_loss, {"patch_scores", "word_scores"}, id="contrast"),
    ],
)
def test_scores_learn_from_what_they_weigh(loss, reached):
    reconstruction = stirred()
    loss(outcome(reconstruction, HIDDEN, HIDDEN_WORDS)).backward()
    found = {name: gradients(getattr(reconstruction, name)) for name in ("patch_scores", "word_scores")}
    assert {name for name, each in found.items() if each} == reached
    assert all(gradient.any() for name in reached for gradient in found[name])


def test_scores_do_not_learn_from_what_is_drawn():
    """A drawn position sends back what the same position sends back when it is given."""
    given, drawing = stirred(), stirred()
    output, *hidden = drawn_by(drawing)
    for each in (output, outcome(given, *hidden)):
        (patch_loss(each) + word_loss(each)).backward()
    pairs = list(zip(given.parameters(), drawing.parameters(), strict=True))
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)


@pytest.mark.parametrize("detached", [False, True])
def test_the_reconstruction_moves_its_target_only_where_it_may(image, detached):
    network = small_network(rec_detach=detached).train()
    given = network(image.expand(2, -1, -1, -1), tokens(network, UPPER_LEFT, LOWER_RIGHT))
    assert given.patches.requires_grad is not detached
    assert not given.target.requires_grad
    assert given.counted.sum() < given.counted.numel() and torch.equal(given.counted, given.present)
