"""RecLMIS: language-guided segmentation by cross-modal conditioned reconstruction.

Huang et al.: "Cross-Modal Conditioned Reconstruction for Language-guided Medical Image Segmentation", IEEE TMI 2025.
Written from the paper's description; no code or weights of others. Licence: Apache-2.0.

Words read the picture's patches and the patches read the words (equations 1 and 2); the result takes the place of the
bottleneck of a U-Net whose skips pass a pixel gate. What `reclmis_training` adds is for training alone: the mask is the
same, bit for bit, with it and without.
"""

import copy
import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textseg.networks.blocks import ConvBlock, TimmEncoder, fold_batch_norms, upsampled
from textseg.networks.reclmis_attention import Attention
from textseg.networks.reclmis_objective import RecLMISLoss, RecLMISOutput
from textseg.networks.reclmis_training import DROPOUT, Prompt, Reconstruction

IMAGE_SIZE = 224  # the table of patch positions is made for it
PUBLISHED_WIDTH = 64


class ContractingPath(nn.Module):
    """B x 3 x S x S -> x1 to x4 and V, at strides 1, 2, 4, 8, 16: a stem, then pooling and two convolutions each."""

    stride = 1

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = ConvBlock(3, widths[0])
        self.downs = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), ConvBlock(a, b), ConvBlock(b, b)) for a, b in itertools.pairwise(widths)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [self.stem(image)]
        for down in self.downs:
            maps.append(down(maps[-1]))
        return maps


class Positions(nn.Module):
    """B x N x C patches plus a learned table of their places; zeros at first."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, patches, width))

    def forward(self, patches: Tensor) -> Tensor:
        return patches + self.table


class Interaction(nn.Module):
    """Patches and words read each other.

    kv_from: what the patches read, "fused" (T, the words after they have read the picture: the published network) or
    "text" (E, the words themselves: the paper's equation 2).
    """

    def __init__(self, width: int, patches: int, kv_from: str) -> None:
        super().__init__()
        if kv_from not in ("fused", "text"):
            raise ValueError(f'kv_from is "fused" or "text", not {kv_from!r}')
        self.kv_from = kv_from
        self.embed = nn.Conv2d(width, width, 1)
        self.positions = Positions(patches, width)
        self.dropout = nn.Dropout(DROPOUT)
        self.vision_to_text = Attention(width, DROPOUT)
        self.text_to_vision = Attention(width, DROPOUT)
        self.text_head = nn.Conv1d(width, width, 3, padding=1)
        self.text_norm = nn.BatchNorm1d(width)

    def patches(self, deep: Tensor) -> Tensor:
        """V, B x C x h x w -> P, B x hw x C. Knows no text."""
        return self.dropout(self.positions(self.embed(deep).flatten(2).transpose(1, 2)))

    def forward(self, patches: Tensor, words: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(P, E, B x L words that may be read) -> (V', B x hw x C; T, B x L x C, None where nothing needs it)."""
        fused = self.vision_to_text(words, patches) if self.training or self.kv_from == "fused" else None
        return self.text_to_vision(patches, words if self.kv_from == "text" else fused, visible), fused

    def interest(self, fused: Tensor) -> Tensor:
        """T -> E', from which the words are scored."""
        return F.relu(self.text_norm(self.text_head(fused.transpose(1, 2)))).transpose(1, 2)


class PixelGate(nn.Module):
    """A map times one signed number per pixel, from mean and maximum over the channels of two maps; no sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Conv2d(width, width, 1, bias=False)
        self.peak = nn.Conv2d(width, width, 1, bias=False)
        self.hidden = nn.Conv2d(3, 6, 1)
        self.out = nn.Conv2d(6, 1, 1)

    def forward(self, skip: Tensor) -> Tensor:
        mean = F.relu(self.mean(skip)).mean(dim=1, keepdim=True)
        peak = F.relu(self.peak(skip)).amax(dim=1, keepdim=True)
        return skip * self.out(F.relu(self.hidden(torch.cat([mean, peak, mean + peak], dim=1))))


class UpBlock(nn.Module):
    """Two convolutions of the gated skip and the coarser map, doubled in size.

    The first one is linear before its norm, so that its skip half, which knows no text, is a step of its own.
    """

    def __init__(self, skip: int, deep: int, out: int) -> None:
        super().__init__()
        self.skip_width = skip
        self.gate = PixelGate(skip)
        self.first = ConvBlock(skip + deep, out)
        self.second = ConvBlock(out, out)

    def skip_half(self, skip: Tensor) -> Tensor:
        """The share of the first convolution, bias included, that comes from the skip."""
        conv = self.first[0]
        return F.conv2d(self.gate(skip), conv.weight[:, : self.skip_width], conv.bias, padding=1)

    def forward(self, skip_half: Tensor, deep: Tensor) -> Tensor:
        mixed = skip_half + F.conv2d(upsampled(deep, 2), self.first[0].weight[:, self.skip_width :], padding=1)
        _, norm, relu = self.first
        return self.second(relu(norm(mixed)))


class RecLMIS(nn.Module):
    """(picture B x 3 x 224 x 224 in 0..1, B x L tokens) -> logits B x 1 x 224 x 224.

    In training mode the result is a `RecLMISOutput`. text_encoder: a `text.encoder.TextEncoder` of 8 x width.
    width: channels of the first level (64 in the paper). encoder: None for the paper's contracting path, or the
    name of a timm model with features at strides 2 to 32. kv_from: see `Interaction`. mask_padding: padded words
    take no part in the mask, so that their number does not matter to it, nor in the losses. training: of
    `Reconstruction`. Raises ValueError for another picture size or text length, or a text encoder of another width.
    """

    def __init__(
        self,
        text_encoder: nn.Module,
        width: int = PUBLISHED_WIDTH,
        encoder: str | None = None,
        kv_from: str = "fused",
        mask_padding: bool = True,
        **training: Any,
    ) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width, 8 * width)
        deep, outs = widths[-1], (4 * width, 2 * width, width, width)
        if text_encoder.width != deep:
            raise ValueError(f"RecLMIS of width {width} reads words of width {deep}, not {text_encoder.width}")
        self.mask_padding = mask_padding
        self.text_encoder = text_encoder
        self.text_conv = nn.Conv1d(deep, deep, 3, padding=1)
        self.encoder = TimmEncoder(encoder, widths) if encoder else ContractingPath(widths)
        side = IMAGE_SIZE // self.encoder.stride // 16
        self.interaction = Interaction(deep, side * side, kv_from)
        self.decoder = nn.ModuleList(
            UpBlock(skip, coarser, out)
            for skip, coarser, out in zip(reversed(widths[:-1]), (deep, *outs), outs, strict=False)
        )
        self.head = nn.Conv2d(width, 1, 1)
        self.reconstruction = Reconstruction(deep, mask_padding=mask_padding, **training)

    def forward(self, image: Tensor, text: Tensor) -> Tensor | RecLMISOutput:
        return self.segment(self.encode_image(image), self.encode_prompt(text))

    def encode_image(self, image: Tensor) -> list[Tensor]:
        """The half that knows no text, reusable for another prompt: the skips' share, coarse to fine, then V and P."""
        if image.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            found, taken = "x".join(map(str, image.shape[-2:])), f"{IMAGE_SIZE}x{IMAGE_SIZE}"
            raise ValueError(f"RecLMIS takes {taken} pictures, not {found}; resize to {taken}")
        *skips, deep = self.encoder(image)
        halves = [block.skip_half(skip) for block, skip in zip(self.decoder, reversed(skips), strict=True)]
        return [*halves, deep, self.interaction.patches(deep)]

    def encode_prompt(self, text: Tensor) -> Prompt:
        """The half that knows no picture, reusable for another one."""
        if text.shape[-1] != self.text_encoder.length:
            raise ValueError(f"RecLMIS takes {self.text_encoder.length} tokens, not {text.shape[-1]}; pad or cut them")
        vectors, present = self.text_encoder(text)
        if self.mask_padding:
            vectors = vectors * present[:, :, None]
        words = self.text_conv(vectors.transpose(1, 2)).transpose(1, 2)
        return Prompt(words, vectors.detach(), present, text)

    def segment(self, features: list[Tensor], prompt: Prompt) -> Tensor | RecLMISOutput:
        """What `encode_image` and `encode_prompt` give to logits; in training mode all that the objective takes."""
        *halves, deep, patches = features
        visible = prompt.present if self.mask_padding else None
        read, fused = self.interaction(patches, prompt.words, visible)
        maps = read.transpose(1, 2).unflatten(2, deep.shape[-2:])
        for block, half in zip(self.decoder, halves, strict=True):
            maps = block(half, maps)
        logits = self._at_full_size(self.head(maps))
        if not self.training:
            return logits
        raw, interest = deep.flatten(2).transpose(1, 2), self.interaction.interest(fused)
        return self.reconstruction(logits, raw, read, interest, prompt)

    def _at_full_size(self, logits: Tensor) -> Tensor:
        if self.encoder.stride == 1:
            return logits
        return F.interpolate(logits, scale_factor=self.encoder.stride, mode="bilinear", align_corners=False)

    def for_inference(self) -> "RecLMIS":
        """A copy in evaluation mode without the training-only half, batch norms folded, channels last."""
        network = copy.deepcopy(self).eval()
        network.reconstruction = None
        fold_batch_norms(network)
        return network.requires_grad_(False).to(memory_format=torch.channels_last)


NETWORK, OBJECTIVE = RecLMIS, RecLMISLoss
