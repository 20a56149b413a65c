"""Training samples changed as published: the sentence stays as it is, whatever becomes of the picture.

Turns, flips and rotations are those of C2FVL (ICASSP 2023, section on training) and RecLMIS (IEEE TMI 2025); blur and
photometric changes are RecLMIS's alone. In half of the samples side or height words need not fit the picture any more.
"""

import numpy as np
from scipy import ndimage

LEVELS = 255  # grey values of an 8-bit picture


def turned(image: np.ndarray, mask: np.ndarray, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Half turned by quarters and flipped, a quarter rotated by up to 20 degrees, a quarter left; H x W each."""
    draw = random.random_sample()
    if draw < 0.5:
        turns, axis = random.randint(4), random.randint(2)
        image, mask = (np.flip(np.rot90(array, turns), axis).copy() for array in (image, mask))
    elif draw < 0.75:
        angle = random.randint(-20, 20)
        image, mask = (ndimage.rotate(array, angle, order=0, reshape=False) for array in (image, mask))
    return image, mask


def row_blurred(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Each row with probability 0.5 blurred along itself, sigma 0.5 to 1 pixel. H x W in 0..1.

    Blur of whole channels was meant; this is what the published training did.
    """
    blurred = image.copy()
    for row in np.flatnonzero(random.random_sample(len(image)) < 0.5):
        blurred[row] = eight_bit(ndimage.gaussian_filter1d(image[row], random.uniform(0.5, 1.0)))
    return blurred


def photometric(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Brightness by up to 32 of 255 levels, contrast by 0.5 to 1.5, each with probability 0.5. H x W in 0..1.

    The published changes of saturation and hue do nothing to a grey picture.
    """
    if random.random_sample() < 0.5:
        image = eight_bit(image + random.uniform(-32, 32) / LEVELS)
    if random.random_sample() < 0.5:
        image = eight_bit(image * random.uniform(0.5, 1.5))
    return image


def eight_bit(image: np.ndarray) -> np.ndarray:
    """Values in 0..1 at whole levels of 255, float32."""
    return (np.round(np.clip(image, 0, 1) * LEVELS) / LEVELS).astype(np.float32)
