"""C2FVL: coarse-to-fine segmentation of lung infection by vision-language alignment.

Shan, Li, Chen, Li, Tian, Hong: "Coarse-to-Fine Covid-19 Segmentation via Vision-Language Alignment", ICASSP 2023.
Written from the paper's description; no code or weights of others. Licence: Apache-2.0.

A convolutional encoder and a transformer branch are summed at four levels (equations 1 and 2), weighted by the eight
numbers of the sentence (3), gated pixel by pixel (VLAB, 4 to 6) and decoded. During training one-channel maps of the
four levels are drawn towards each other (10). With `encoder` the convolutional encoder is a light timm one at half the
resolution; everything else stays.
"""

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textseg.networks.blocks import ConvBlock, TimmEncoder, fold_batch_norms, upsampled
from textseg.networks.c2fvl_objective import C2FVLLoss, C2FVLOutput

GRID = 14  # tokens along a side, at every level
TEXT_SIZE = 8


class ConvEncoder(nn.Module):
    """E1..E5 of section 3: one convolution, then four times pooling and two convolutions."""

    stride = 1

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        steps = itertools.pairwise(widths)
        self.stages = nn.ModuleList(
            [
                ConvBlock(3, widths[0]),
                *(nn.Sequential(nn.MaxPool2d(2), ConvBlock(a, b), ConvBlock(b, b)) for a, b in steps),
            ]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features


class Attention(nn.Module):
    """Eight heads; one linear map gives [query; key; value]."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, N, C)
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, C / heads)
        joined = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return self.out(joined.reshape(batch, count, width))


class TransformerBlock(nn.Module):
    """Pre-norm attention and a perceptron with a second GELU before the residual sum."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.attention = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        self.hidden = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.hidden, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, N, C)
        tokens = tokens + self.attention(self.norm1(tokens))
        hidden = self.dropout(F.gelu(self.hidden(self.norm2(tokens))))
        return tokens + self.dropout(F.gelu(self.output(hidden)))


class Positions(nn.Module):
    """A learned table added to the tokens, zero at first; a module, so that it stands after the patch embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, GRID * GRID, width))

    def forward(self, tokens: Tensor) -> Tensor:  # (B, 196, C)
        return tokens + self.table


class Level(nn.Module):
    """One level of the transformer branch and its reconstruction (equation 1).

    The 1x1 convolution of the reconstruction runs before the nearest upsampling, with which it commutes.
    """

    def __init__(self, width: int, patch: int, coarser: int, dropout: float) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Conv2d(width, width, patch, stride=patch)
        self.positions = Positions(width)
        self.dropout = nn.Dropout(dropout)
        self.block = TransformerBlock(width, dropout)
        kept = width - coarser
        squeeze = nn.Sequential(nn.Conv1d(width, kept, 3, padding=1), nn.BatchNorm1d(kept), nn.ReLU())
        self.squeeze = squeeze if coarser else None
        self.rebuild = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, feature: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """(E_i, Y_{i-1}) -> (R_i: B x C x S x S, Y_i: B x 196 x C)."""
        tokens = self.embed(feature).flatten(2).transpose(1, 2)  # (B, 196, C)
        tokens = self.block(self.dropout(self.positions(tokens)))
        if self.squeeze is not None:
            squeezed = self.squeeze(tokens.transpose(1, 2)).transpose(1, 2)
            tokens = torch.cat([squeezed, before], dim=2)
        grid = tokens.transpose(1, 2).unflatten(2, (GRID, GRID))
        return upsampled(self.rebuild(grid), self.patch), tokens


class VLABBranch(nn.Sequential):
    """ReLU(B (A G) + beta): a 1x1 convolution without bias, a linear map on channels, nothing between them."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 1, bias=False), nn.Conv2d(width, width, 1), nn.ReLU())

    def merged(self) -> nn.Sequential:
        """The same function with A and B as one matrix."""
        first, second, relu = self
        both = nn.Conv2d(first.in_channels, second.out_channels, 1)
        both.weight = nn.Parameter(torch.einsum("abij,bcij->acij", second.weight, first.weight).detach())
        both.bias = nn.Parameter(second.bias.detach())
        return nn.Sequential(both, relu)


class VLAB(nn.Module):
    """Vision-language alignment block: one gate value per pixel (equations 4 to 6). No sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean_branch = VLABBranch(width)
        self.max_branch = VLABBranch(width)
        self.gate = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, weighted: Tensor) -> Tensor:  # (B, C, S, S)
        mean = self.mean_branch(weighted).mean(dim=1, keepdim=True)
        peak = self.max_branch(weighted).amax(dim=1, keepdim=True)
        return weighted * self.gate(mean + peak)


class C2FVL(nn.Module):
    """(picture B x 3 x 224 x 224 in 0..1, text B x 8 raw numbers) -> logits B x 1 x 224 x 224.

    In training mode the result is a `C2FVLOutput`. width: channels of the first level (64 in the paper; a multiple of
    8). encoder: None for the paper's, or the name of a timm model with features at strides 2 to 32.
    Raises ValueError for another picture size: the learned positions cover exactly 14 x 14 tokens.
    """

    image_size = 224
    text_encoder = None  # it reads eight numbers

    def __init__(self, width: int = 64, encoder: str | None = None, dropout: float = 0.1) -> None:
        super().__init__()
        if width % TEXT_SIZE:
            raise ValueError(f"C2FVL's width must be a multiple of {TEXT_SIZE}, not {width}")
        widths = (width, 2 * width, 4 * width, 8 * width)
        every = (*widths, widths[-1])
        self.encoder = TimmEncoder(encoder, every) if encoder else ConvEncoder(every)
        self.stride = self.encoder.stride
        patches = [self.image_size // self.stride // GRID >> level for level in range(4)]
        coarser = (0, *widths)
        self.levels = nn.ModuleList(
            Level(c, patch, before, dropout) for c, patch, before in zip(widths, patches, coarser, strict=False)
        )
        self.vlabs = nn.ModuleList(VLAB(c) for c in widths)
        ins = (2 * widths[3], 2 * widths[2], 2 * widths[1], 2 * widths[0])
        outs = (widths[2], widths[1], widths[0], widths[0])
        self.decoder = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b), ConvBlock(b, b)) for a, b in zip(ins, outs, strict=True)
        )
        self.head = nn.Conv2d(width, 1, 1)
        self.auxiliary = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in widths[1:])

    def forward(self, image: Tensor, text: Tensor) -> Tensor | C2FVLOutput:
        return self.segment(self.encode_image(image), self.encode_prompt(text))

    def encode_image(self, image: Tensor) -> list[Tensor]:
        """The half that knows no text: [F1..F4, E5] (equation 2), reusable for another prompt."""
        if image.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(f"C2FVL takes {self.image_size}x{self.image_size} pictures, not {tuple(image.shape[-2:])}")
        features = self.encoder(image)
        fused, tokens = [], None
        for level, feature in zip(self.levels, features, strict=False):
            rebuilt, tokens = level(feature, tokens)
            fused.append(rebuilt + feature)
        return [*fused, features[-1]]

    def encode_prompt(self, text: Tensor) -> Tensor:
        """The half that knows no picture: the eight numbers themselves."""
        return text

    def segment(self, features: list[Tensor], text: Tensor) -> Tensor | C2FVLOutput:
        """[F1..F4, E5] and the text to logits; in training mode with the auxiliary maps."""
        *fused, deep = features
        gated = [vlab(weighted_by_text(f, text)) for vlab, f in zip(self.vlabs, fused, strict=True)]
        for block, skip in zip(self.decoder, reversed(gated), strict=True):
            deep = block(torch.cat([skip, upsampled(deep, 2)], dim=1))
        logits = self._to_picture(self.head(deep))
        return C2FVLOutput(logits, self._auxiliary_maps(gated)) if self.training else logits

    def _auxiliary_maps(self, gated: list[Tensor]) -> tuple[Tensor, ...]:
        """v1 by the segmentation head itself, v2..v4 by heads of their own; 1x1 before upsampling."""
        maps = [self.head(gated[0]), *(head(v) for head, v in zip(self.auxiliary, gated[1:], strict=True))]
        return tuple(self._to_picture(upsampled(v, 2**level)) for level, v in enumerate(maps))

    def _to_picture(self, maps: Tensor) -> Tensor:
        if self.stride == 1:
            return maps
        return F.interpolate(maps, scale_factor=self.stride, mode="bilinear", align_corners=False)

    def for_inference(self) -> "C2FVL":
        """A copy in evaluation mode, same function: VLAB branches merged, batch norms folded, channels last."""
        network = copy.deepcopy(self).eval()
        for vlab in network.vlabs:
            vlab.mean_branch, vlab.max_branch = vlab.mean_branch.merged(), vlab.max_branch.merged()
        fold_batch_norms(network)
        return network.requires_grad_(False).to(memory_format=torch.channels_last)


def weighted_by_text(feature: Tensor, text: Tensor) -> Tensor:
    """Equation 3: the eight numbers tiled over the channels, channel c times t[c mod 8]."""
    repeats = feature.shape[1] // TEXT_SIZE
    return feature * text.reshape(-1, TEXT_SIZE).repeat(1, repeats)[:, :, None, None]


NETWORK, OBJECTIVE = C2FVL, C2FVLLoss
