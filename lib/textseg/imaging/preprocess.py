"""The one preprocessing: displayed slices <-> the square a network reads. Shared by infer, train and evaluate."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def to_network(slices: np.ndarray, size: int) -> Tensor:
    """N x H x W in 0..1 to N x 3 x size x size float32 in 0..1; the grey value repeated into three channels.

    Bilinear, with anti-aliasing when it shrinks; the side lengths are changed independently, as in QaTa-COV19.
    """
    grey = torch.from_numpy(np.ascontiguousarray(slices, dtype=np.float32))[:, None]
    return resized(grey, (size, size)).clamp(0, 1).expand(-1, 3, -1, -1)


def mask_to_network(masks: np.ndarray, size: int) -> Tensor:
    """N x H x W booleans to N x 1 x size x size of 0 and 1.

    Bilinear, every value above 0 becomes 1 (C2FVL's recipe): a mask of another size is widened by up to a pixel.
    """
    binary = torch.from_numpy(np.ascontiguousarray(masks)).float()[:, None]
    return (resized(binary, (size, size)) > 0).float()


def to_display(probabilities: Tensor, height: int, width: int) -> np.ndarray:
    """N x 1 x size x size probabilities to N x H x W float32 in 0..1 on the displayed slices' own grid."""
    return resized(probabilities.float(), (height, width))[:, 0].numpy()


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of N x C x H x W, with anti-aliasing; the same tensor when nothing changes."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)
