"""A picture as the networks and the viewers need it: displayed slices, and the way back to the file's own grid."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from textseg.imaging.grid import Grid, View
from textseg.imaging.window import Window

XRAY, CT = "xray", "ct"
MODALITIES = (XRAY, CT)


@dataclass(frozen=True)
class Picture:
    """One picture, a slice or a volume.

    pixels: N x H x W in standard display (the patient's right on the picture's left; top is superior for a frontal
    view, anterior for an axial slice), in the file's own values. window: turns them into 0..1. grid: the file's own,
    as ITK reads it. view: how the grid's axes are shown. placed: False where the file says nothing of where it lies
    in the patient (PNG, JPEG, most radiographs). sides_known: False where left and right of the patient cannot be
    told. warnings: sentences for the user.
    """

    pixels: np.ndarray
    window: Window
    grid: Grid
    view: View
    modality: str
    placed: bool = True
    sides_known: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns as shown."""
        return self.pixels.shape

    @property
    def slices(self) -> np.ndarray:
        """All slices, N x H x W, float32 in 0..1."""
        return self.part(0, len(self.pixels))

    def part(self, start: int, stop: int) -> np.ndarray:
        """The slices from `start` to before `stop`, as `slices`; a large volume is windowed part by part."""
        return self.window(self.pixels[start:stop])

    def on_grid(self, masks: np.ndarray) -> sitk.Image:
        """Displayed masks (N x H x W) as an image of the file's own size, spacing, origin and direction."""
        return self.grid.image(self.view.undone(masks))
