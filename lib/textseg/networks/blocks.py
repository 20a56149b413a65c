"""Blocks that several networks are made of."""

import itertools

import timm
import torch
import torch.nn.functional as F
from monai.networks.blocks.dynunet_block import UnetBasicBlock
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBlock(nn.Sequential):
    """CBR(a -> b): 3x3 convolution with bias, batch norm, ReLU; size kept."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU())


class TimmEncoder(nn.Module):
    """A light timm encoder in place of a convolutional contracting path.

    The picture, B x 3 x S x S in 0..1, is standardised by its own mean and standard deviation, so that windowing does
    not matter. The last of timm's feature maps, as many as there are widths (five: strides 2, 4, 8, 16, 32), are
    brought to the widths asked for by a 1x1 convolution, batch norm and ReLU; where all have them already they stay.
    stride: of the first of them.
    """

    def __init__(self, name: str, widths: tuple[int, ...]) -> None:
        super().__init__()
        last = range(-len(widths), 0)
        self.features = timm.create_model(name, features_only=True, pretrained=False, out_indices=last)
        found, self.stride = self.features.feature_info.channels(), self.features.feature_info.reduction()[0]
        self.lateral = nn.ModuleList(
            nn.Identity()
            if tuple(found) == tuple(widths)
            else nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            for channels, width in zip(found, widths, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = self.features(standardised(image))
        return [lateral(feature) for lateral, feature in zip(self.lateral, maps, strict=True)]


def standardised(image: Tensor) -> Tensor:
    """Each picture of a batch brought to mean 0 and standard deviation 1 (a constant picture: 0)."""
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    deviation = image.std(dim=(1, 2, 3), keepdim=True, correction=0)
    return (image - mean) / torch.clamp(deviation, min=1e-3)


def upsampled(maps: Tensor, factor: int) -> Tensor:
    """Nearest-neighbour upsampling by a whole factor."""
    return maps if factor == 1 else F.interpolate(maps, scale_factor=factor, mode="nearest")


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm that follows a convolution into it, in place; the same function in evaluation.

    Which follows which is known of sequences, of MONAI's two-convolution blocks, and of timm's blocks, whose
    `BatchNormAct2d` norms what was registered before it.
    """
    for parent in list(network.modules()):
        if isinstance(parent, UnetBasicBlock):
            for convolution, norm in ((parent.conv1, "norm1"), (parent.conv2, "norm2")):
                _fold(convolution, "conv", parent, norm)
            continue
        for (conv, first), (norm, second) in itertools.pairwise(list(parent.named_children())):
            follows = isinstance(parent, nn.Sequential) or isinstance(second, BatchNormAct2d)
            if follows and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                _fold(parent, conv, parent, norm)


def _fold(owner: nn.Module, conv: str, parent: nn.Module, norm: str) -> None:
    """`owner.conv` takes over what `parent.norm` does, which leaves its activation where it has one."""
    folded = getattr(parent, norm)
    setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), folded))
    setattr(parent, norm, folded.act if isinstance(folded, BatchNormAct2d) else nn.Identity())
