"""TGCAM learns what words mean: four discs in a picture, and a text that names some of them."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from textseg.networks.tgcam import TGCAM, TGCAMLoss
from textseg.text.encoder import FrozenEncoder
from textseg.text.tokens import WordTokens

WIDTHS, SIZE, LENGTH_OF_WORDS = (16, 24, 32, 48), 64, 48
NAMED = {  # text -> quadrants, row by row
    "left": (0, 2),
    "right": (1, 3),
    "upper": (0, 1),
    "lower": (2, 3),
    "all": (0, 1, 2, 3),
    "upper left": (0,),
    "lower right": (3,),
}
TOKENS = WordTokens()


class FixedWords(FrozenEncoder):
    """A random vector for every word and another one for every position; never trained."""

    def __init__(self) -> None:
        super().__init__(TOKENS, TOKENS.words, LENGTH_OF_WORDS)
        random = torch.Generator().manual_seed(0)
        self.register_buffer("words", torch.randn(len(TOKENS.words), LENGTH_OF_WORDS, generator=random))
        self.register_buffer("positions", 0.5 * torch.randn(self.length, LENGTH_OF_WORDS, generator=random))

    def encode(self, tokens: Tensor) -> Tensor:
        return self.words[tokens] + self.positions


class TinyEncoder(nn.Module):
    """Four convolutions, at strides 4 to 32."""

    def __init__(self) -> None:
        super().__init__()
        kernels = [(3, WIDTHS[0], 4, 4, 0), *((a, b, 3, 2, 1) for a, b in itertools.pairwise(WIDTHS))]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(*kernel), nn.BatchNorm2d(kernel[1]), nn.ReLU()) for kernel in kernels
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps


def draw(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures with a disc in every quadrant, masks of the discs that the text names, and texts as token numbers."""
    random = torch.Generator().manual_seed(seed)
    middles = torch.tensor([[1, 1], [1, 3], [3, 1], [3, 3]]) * SIZE // 4
    middles = middles + torch.randint(-5, 6, (count, 4, 2), generator=random)
    radii = torch.randint(5, 10, (count, 4), generator=random)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    far = (rows - middles[..., 0, None, None]) ** 2 + (columns - middles[..., 1, None, None]) ** 2
    discs = (far < radii[..., None, None] ** 2).float()  # (count, 4, S, S)
    picture = 0.6 * discs.amax(1, keepdim=True) + 0.1 * torch.rand(count, 1, SIZE, SIZE, generator=random)
    chosen = [list(NAMED)[number] for number in torch.randint(0, len(NAMED), (count,), generator=random)]
    mask = torch.stack([of_one[list(NAMED[text])].amax(0) for of_one, text in zip(discs, chosen, strict=True)])
    return picture.expand(-1, 3, -1, -1), mask[:, None], torch.tensor([TOKENS(text) for text in chosen])


@pytest.fixture(scope="module")
def training() -> tuple[Tensor, Tensor, Tensor]:
    return draw(512, seed=1)


@pytest.fixture(scope="module")
def validation() -> tuple[Tensor, Tensor, Tensor]:
    return draw(112, seed=2)


def micro_dice(network: TGCAM, samples: tuple[Tensor, Tensor, Tensor]) -> float:
    pictures, mask, text = samples
    with torch.no_grad():
        found = network.eval()(pictures, text) > 0
    network.train()
    return (2 * (found & (mask > 0)).sum() / (found.sum() + mask.sum())).item()


def learn(training, validation, steps: int, enough: float = 1.0, **switches: bool) -> float:
    """Micro Dice on `validation` after so many steps, or earlier when it is enough."""
    torch.manual_seed(0)
    network = TGCAM(FixedWords(), "test_resnet", WIDTHS, channels=8, **switches)
    network.encoder = TinyEncoder()
    optimizer = torch.optim.AdamW((weight for weight in network.parameters() if weight.requires_grad), lr=2e-3)
    for step in range(1, steps + 1):
        pictures, mask, text = (
            part[torch.randint(0, len(part), (16,), generator=torch.Generator().manual_seed(step))] for part in training
        )
        optimizer.zero_grad()
        TGCAMLoss()(network(pictures, text), mask).backward()
        optimizer.step()
        if step % 25 == 0 and (reached := micro_dice(network, validation)) > enough:
            break
    return reached


def test_without_the_text_it_cannot_know_which_discs_are_meant(training, validation):
    """Naming every disc blindly, the best that it could do, is worth 2/3."""
    assert 0.45 < learn(training, validation, 75, use_cam=False, use_item=False) < 0.65


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"use_cam": False}, id="ITEM"),
        pytest.param({"use_item": False}, id="CAM"),
        pytest.param({}, id="both"),
        pytest.param({"cam_residual": True, "scale_common": True, "positions": True}, id="compact"),
    ],
)
def test_with_the_text_it_finds_the_discs_that_are_named(training, validation, switches):
    assert learn(training, validation, 700, enough=0.85, **switches) > 0.85
