"""TGCAM: text-guided common attention model for segmentation of pneumonia.

Guo et al.: "Common Vision-Language Attention for Text-Guided Medical Image Segmentation of Pneumonia", MICCAI 2024.
Written from the paper's description; no code or weights of others. Licence: Apache-2.0.

Picture and words share one attention matrix (CAM, equations 1 to 4); the words go on to the next finer level and are
read once more (ITEM, 5 to 7). Three such blocks at strides 32, 16 and 8, each followed by a U-Net step.
"""

import copy
import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.networks.blocks import SubpixelUpsample, UnetOutBlock, UnetrUpBlock
from torch import Tensor, nn

from textseg.networks.blocks import TimmEncoder, fold_batch_norms

PUBLISHED_WIDTHS = (96, 192, 384, 768)  # ConvNeXt-Tiny's four stages


@dataclass
class TGCAMOutput:
    """What training needs. logits: B x 1 x S x S."""

    logits: Tensor


@dataclass(eq=False)
class TGCAMLoss(nn.Module):
    """L = dice * L_dice + cross_entropy * L_ce, Dice with plain sums, a mean over images (TGCAM, MICCAI 2024)."""

    dice: float = 1.0
    cross_entropy: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, output: TGCAMOutput, mask: Tensor) -> Tensor:
        p, g = torch.sigmoid(output.logits).flatten(1), mask.flatten(1)
        dice = 1 - (2 * (p * g).sum(1) + 1e-5) / (p.sum(1) + g.sum(1) + 1e-5)
        return self.dice * dice.mean() + self.cross_entropy * F.binary_cross_entropy_with_logits(output.logits, mask)


@dataclass(frozen=True)
class Words:
    """A prompt as one block reads it. key, value: B x N x d; None without CAM. text: B x N x C'; None without ITEM."""

    key: Tensor | None
    value: Tensor | None
    text: Tensor | None


@dataclass(frozen=True)
class Prompt:
    """What `encode_prompt` gives: the words of the three blocks, and which positions hold words (B x N booleans)."""

    blocks: tuple[Words, ...]
    present: Tensor | None


class CommonAttention(nn.Module):
    """CAM: one matrix between words and pixels, normalised both ways (equations 1 to 4). One head.

    residual: the pixels are added to the result; scaled: F_com is divided by the root of the width. Both off in print.
    """

    def __init__(self, pixel_width: int, text_width: int, length: int, residual: bool, scaled: bool) -> None:
        super().__init__()
        self.residual, self.scale = residual, 1 / math.sqrt(pixel_width)
        self.common_scale = self.scale if scaled else 1.0
        self.text_key = nn.Linear(text_width, pixel_width)
        self.text_value = nn.Linear(text_width, pixel_width)
        self.pixel_key = nn.Linear(pixel_width, pixel_width)
        self.pixel_value = nn.Linear(pixel_width, pixel_width)
        self.out = nn.Linear(length, pixel_width)

    def forward(self, pixels: Tensor, words: Words, present: Tensor | None) -> Tensor:  # (B, P, C)
        with torch.autocast(pixels.device.type, enabled=False):
            pixels, key, value = pixels.float(), words.key.float(), words.value.float()
            common = key @ self.pixel_key(pixels).transpose(1, 2) * self.scale  # (B, N, P)
            of_picture = common.softmax(dim=-1) @ self.pixel_value(pixels)  # F_V (B, N, d)
            by_word = over_words(common.transpose(1, 2), present)  # (B, P, N)
            shared = by_word @ (value @ of_picture.transpose(1, 2)) * self.common_scale  # F_com = F_T F_V^T (B, P, N)
            if present is not None:
                shared = shared * present[:, None, :]
            result = self.out(shared)
        return pixels + result if self.residual else result


class TextEnhancement(nn.Module):
    """ITEM: the words brought to the next level's width, read by every pixel (equations 5 to 7)."""

    def __init__(self, pixel_width: int, text_width: int, next_width: int) -> None:
        super().__init__()
        self.text = nn.Linear(text_width, next_width)
        self.query = nn.Linear(pixel_width, next_width)
        self.out = nn.Linear(next_width, pixel_width)
        self.norm = nn.BatchNorm1d(pixel_width)

    def forward(self, pixels: Tensor, text: Tensor, present: Tensor | None) -> Tensor:  # (B, P, C)
        read = over_words(self.query(pixels) @ text.transpose(1, 2), present) @ text
        return self.norm((pixels + self.out(read)).transpose(1, 2)).transpose(1, 2)


class Positions(nn.Module):
    """Where a pixel lies, added to it: a learned map of 16 sines and cosines of its place. Not in print.

    Without it only the padding of the convolutions tells the decoder left from right.
    """

    def __init__(self, width: int, waves: int = 4) -> None:
        super().__init__()
        self.waves = waves
        self.out = nn.Linear(4 * waves, width, bias=False)

    def forward(self, height: int, width: int) -> Tensor:  # (P, C)
        """Of (1, 2, 4, 8) pi times row and column, both from 0 to 1 across the picture."""
        like = self.out.weight
        places = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in (height, width)]
        grid = torch.stack(torch.meshgrid(*places, indexing="ij"), dim=-1).reshape(-1, 2, 1)
        angles = grid * math.pi * 2 ** torch.arange(self.waves, device=like.device)
        return self.out(torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1))


class Block(nn.Module):
    """One common attention block and the U-Net step to the next finer level."""

    def __init__(self, width: int, text_width: int, finer: int, length: int, switches: "Switches") -> None:
        super().__init__()
        cam = CommonAttention(width, text_width, length, switches.cam_residual, switches.scale_common)
        self.positions = Positions(width) if switches.positions else None
        self.cam = cam if switches.use_cam else None
        self.item = TextEnhancement(width, text_width, finer) if switches.use_item else None
        self.up = UnetrUpBlock(2, width, finer, 3, 2, norm_name="batch", res_block=False)

    def encode(self, text: Tensor) -> Words:
        """The half that knows no picture."""
        key, value = (self.cam.text_key(text), self.cam.text_value(text)) if self.cam else (None, None)
        return Words(key, value, self.item.text(text) if self.item else None)

    def forward(self, feature: Tensor, skip: Tensor, words: Words, present: Tensor | None) -> Tensor:
        pixels = feature.flatten(2).transpose(1, 2)  # (B, P, C)
        if self.positions:
            pixels = pixels + self.positions(*feature.shape[-2:])
        if self.cam:
            pixels = self.cam(pixels, words, present)
        if self.item:
            pixels = self.item(pixels, words.text, present)
        return self.up(pixels.transpose(1, 2).reshape(feature.shape), skip)


@dataclass(frozen=True)
class Switches:
    """use_cam, use_item: the paper's ablations. mask_padding: padded words take no part. cam_residual, scale_common:
    see `CommonAttention`. positions: see `Positions`.
    """

    use_cam: bool = True
    use_item: bool = True
    mask_padding: bool = True
    cam_residual: bool = False
    scale_common: bool = False
    positions: bool = False


class TGCAM(nn.Module):
    """(picture B x 3 x H x W in 0..1, B x N word numbers) -> logits B x 1 x H x W; sides are multiples of 32.

    In training mode the result is a `TGCAMOutput`. text_encoder: a `text.encoder.TextEncoder`. encoder: a timm model
    with features at strides 4 to 32; widths: of those four levels. channels: of the head. switches: of `Switches`.
    Raises ValueError for another picture size or text length.
    """

    def __init__(
        self,
        text_encoder: nn.Module,
        encoder: str = "convnext_tiny",
        widths: tuple[int, ...] = PUBLISHED_WIDTHS,
        channels: int = 24,
        **switches: bool,
    ) -> None:
        super().__init__()
        self.switches = Switches(**switches)
        self.encoder = TimmEncoder(encoder, widths)
        self.text_encoder = text_encoder
        coarse_to_fine = tuple(reversed(widths))
        text_width, length = text_encoder.width, text_encoder.length
        levels = itertools.pairwise(coarse_to_fine)
        self.blocks = nn.ModuleList(
            Block(
                width, text_width if number == 0 or not self.switches.use_item else width, finer, length, self.switches
            )
            for number, (width, finer) in enumerate(levels)
        )
        self.head = nn.Sequential(
            SubpixelUpsample(2, widths[0], channels, scale_factor=4), UnetOutBlock(2, channels, 1)
        )

    def forward(self, image: Tensor, text: Tensor) -> Tensor | TGCAMOutput:
        return self.segment(self.encode_image(image), self.encode_prompt(text))

    def encode_image(self, image: Tensor) -> list[Tensor]:
        """The half that knows no text: [I1..I4], reusable for another prompt."""
        height, width = image.shape[-2:]
        if height % 32 or width % 32:
            near = f"{-(-height // 32) * 32}x{-(-width // 32) * 32}"
            raise ValueError(f"TGCAM takes sides that are multiples of 32, not {height}x{width}; pad to {near}")
        return self.encoder(image)

    def encode_prompt(self, text: Tensor) -> Prompt:
        """The half that knows no picture, reusable for another one."""
        if text.shape[-1] != self.text_encoder.length:
            raise ValueError(f"TGCAM takes {self.text_encoder.length} tokens, not {text.shape[-1]}; pad or cut them")
        if not (self.switches.use_cam or self.switches.use_item):
            return Prompt(tuple(Words(None, None, None) for _ in self.blocks), None)
        vectors, present = self.text_encoder(text)
        blocks = []
        for block in self.blocks:
            words = block.encode(vectors)
            blocks.append(words)
            vectors = words.text if words.text is not None else vectors
        return Prompt(tuple(blocks), present)

    def segment(self, features: list[Tensor], prompt: Prompt) -> Tensor | TGCAMOutput:
        """[I1..I4] and the words to logits."""
        present = prompt.present if self.switches.mask_padding else None
        *skips, deep = features
        for block, words, skip in zip(self.blocks, prompt.blocks, reversed(skips), strict=True):
            deep = block(deep, skip, words, present)
        logits = self.head(deep)
        return TGCAMOutput(logits) if self.training else logits

    def for_inference(self) -> "TGCAM":
        """A copy in evaluation mode, batch norms behind convolutions folded, channels last."""
        network = copy.deepcopy(self).eval()
        fold_batch_norms(network)
        return network.requires_grad_(False).to(memory_format=torch.channels_last)


def over_words(scores: Tensor, present: Tensor | None) -> Tensor:
    """B x P x N scores -> weights that sum to 1 over the words of each pixel; padded words get none."""
    if present is not None:
        scores = scores.masked_fill(~present[:, None, :], -torch.inf)
    return scores.softmax(dim=-1)


NETWORK, OBJECTIVE = TGCAM, TGCAMLoss
