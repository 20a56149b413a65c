"""Training samples changed so that picture, mask and words still agree.

`consistent` (ours): a flip swaps the words' sides, small rotations, scales and shifts. `published`: what the papers
did, which leaves the sentence as it is (data.augment_published).
"""

import re
from dataclasses import dataclass, replace

import numpy as np
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Randomizable,
    RandZoomd,
)
from scipy import ndimage

from textseg.data.augment_published import photometric, row_blurred, turned
from textseg.text.finding import Finding
from textseg.text.sides import mirrored_words

SIGMAS = (0.5, 1.0)  # of the blur, pixels


@dataclass(frozen=True)
class Sample:
    """image: H x W float32 in 0..1. mask: H x W float32 of 0 and 1. finding: patient sides, None for no text.

    words: instead of the finding, for a model that reads the text as it stands. complete: see `Record`.
    """

    image: np.ndarray
    mask: np.ndarray
    finding: Finding | None
    bilateral: bool | None = None
    words: str = ""
    complete: bool = True


@dataclass(frozen=True)
class AugmentSettings:
    """Probabilities and ranges. flip: left-right, with the words' sides swapped. no_text: words dropped.

    partial: a two-sided sample asked for one side only, the mask cut at the middle of the picture. healthy: a one-sided
    sample asked for the other side, where there is nothing: an empty mask. coarse: zones or
    count left out of the words. rotate in degrees, scale and shift as shares of the side length. zoom: one factor in
    0.95 to 1.2 for both axes, the size kept (Zhong et al., MICCAI 2023). blur: the whole picture, sigma 0.5 to 1 pixel.
    Of the kind `published` only turns, row_blur and photometric are done, see there.
    """

    kind: str = "consistent"
    flip: float = 0.5
    upend: float = 0.0
    rotate: float = 20.0
    scale: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    no_text: float = 0.0
    partial: float = 0.0
    healthy: float = 0.0
    coarse: float = 0.0
    zoom: float = 0.0
    blur: float = 0.0
    row_blur: float = 0.0
    photometric: bool = False


class Augment(Randomizable):
    """Sample -> Sample of side length `size` by `settings`; seeded through `set_random_state`."""

    def __init__(self, settings: AugmentSettings, size: int) -> None:
        self.settings = settings
        s = settings
        keys = ("image", "mask")
        self.geometry = RandAffined(
            keys,
            prob=1.0,
            rotate_range=np.deg2rad(s.rotate),
            scale_range=s.scale,
            translate_range=(size * s.shift, size * s.shift),
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        )
        self.zoom = RandZoomd(
            keys, prob=s.zoom, min_zoom=0.95, max_zoom=1.2, mode=("bicubic", "nearest"), padding_mode="edge"
        )
        self.brightness = Compose(
            [
                RandAdjustContrastd("image", prob=s.contrast, gamma=(0.6, 1.6)),
                RandGaussianNoised("image", prob=s.noise, std=0.03),
                RandGaussianSmoothd("image", sigma_x=SIGMAS, sigma_y=SIGMAS, prob=s.blur),
            ]
        )

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> "Augment":
        super().set_random_state(seed, state)
        self.geometry.set_random_state(seed)
        self.zoom.set_random_state(seed)
        self.brightness.set_random_state(seed)
        return self

    def __call__(self, sample: Sample) -> Sample:
        if self.settings.kind == "published":
            return self._published(sample)
        if self._happens(self.settings.flip):
            sample = mirrored(sample)
        if self._happens(self.settings.upend):
            sample = upended(sample)
        sample = self._words(sample)
        arrays = {"image": sample.image[None], "mask": sample.mask[None]}
        arrays = self.brightness(self.zoom(self.geometry(arrays)))
        image, mask = (np.asarray(arrays[key], dtype=np.float32)[0] for key in ("image", "mask"))
        return replace(sample, image=np.clip(image, 0, 1), mask=mask)

    def _happens(self, probability: float) -> bool:
        return bool(self.R.random_sample() < probability)

    def _words(self, sample: Sample) -> Sample:
        if self._happens(self.settings.no_text):
            return replace(sample, finding=None, bilateral=None, words="")
        if sample.finding is None:
            return sample
        if sample.finding.two_sided and self._happens(self.settings.partial):
            sample = one_side(sample, ("left", "right")[self.R.randint(2)], counted=self._happens(0.5))
        elif healthy_lung(sample) and self._happens(self.settings.healthy):
            sample = asked_for_healthy(sample)
        if self._happens(self.settings.coarse):
            sample = replace(sample, finding=self._coarser(sample.finding))
        return sample

    def _coarser(self, finding: Finding) -> Finding:
        """What people leave out: the zones, the count, or both."""
        zones, count = ((True, False), (False, True), (True, True))[self.R.randint(3)]
        finding = finding.without_zones() if zones else finding
        return replace(finding, count=None) if count else finding

    def _published(self, sample: Sample) -> Sample:
        image, mask = sample.image, sample.mask
        if self._happens(self.settings.row_blur):
            image = row_blurred(image, self.R)
        if self.settings.photometric:
            image = photometric(image, self.R)
        image, mask = turned(image, mask, self.R)
        return replace(sample, image=image, mask=mask)


def mirrored(sample: Sample) -> Sample:
    """Flipped left to right; the words change sides with the picture."""
    finding = sample.finding.mirrored() if sample.finding else None
    words = mirrored_words(sample.words)
    image, mask = sample.image[:, ::-1].copy(), sample.mask[:, ::-1].copy()
    return replace(sample, image=image, mask=mask, finding=finding, words=words)


def upended(sample: Sample) -> Sample:
    """Flipped top to bottom; upper and lower change places in the words."""
    finding = sample.finding.upended() if sample.finding else None
    words = swapped(swapped(sample.words, ("upper", "lower")), ("top", "bottom"))
    image, mask = sample.image[::-1].copy(), sample.mask[::-1].copy()
    return replace(sample, image=image, mask=mask, finding=finding, words=words)


def swapped(words: str, pair: tuple[str, str]) -> str:
    """A text with two words, of any case, in each other's place."""
    other = dict(zip(pair, reversed(pair), strict=True))
    return re.sub(rf"\b({'|'.join(pair)})\b", lambda found: other[found[0].lower()], words, flags=re.IGNORECASE)


def one_side(sample: Sample, side: str, counted: bool = False) -> Sample:
    """A two-sided sample asked for one of the patient's sides: words and mask restricted to it.

    counted: the words give the number of 8-connected parts that are left; else no number.
    """
    mask = sample.mask.copy()
    mask[:, other_half(side, mask.shape[1])] = 0
    parts = ndimage.label(mask > 0, structure=np.ones((3, 3)))[1] if counted else 0
    return replace(sample, mask=mask, finding=sample.finding.only(side, count=parts or None), bilateral=None)


def healthy_lung(sample: Sample) -> str | None:
    """The patient's side that is neither named nor marked, where the other one is; None where there is none such.

    What was not asked for is not known to be healthy, unless the words tell of all that is there.
    """
    finding = sample.finding
    if bool(finding.left) is bool(finding.right) or sample.bilateral or not sample.complete:
        return None
    side = "right" if finding.left else "left"
    return None if sample.mask[:, asked_half(side, sample.mask.shape[1])].any() else side


def asked_for_healthy(sample: Sample) -> Sample:
    """A one-sided sample asked for the other side: the words change sides, the picture stays, the mask is empty."""
    return replace(sample, mask=np.zeros_like(sample.mask), finding=sample.finding.mirrored(), bilateral=None)


def asked_half(side: str, width: int) -> slice:
    """The columns of the standard display in which the patient's `side` lies: the right one on the picture's left."""
    return slice(width // 2, width) if side == "left" else slice(0, width // 2)


def other_half(side: str, width: int) -> slice:
    """The columns in which the other lung lies."""
    return asked_half("right" if side == "left" else "left", width)
