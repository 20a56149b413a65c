"""How much a picture would teach: how far the masks of a model are apart that should be much the same.

The model is asked again with words changed in ways that should matter little, and of the picture flipped. One score in
0..1 per picture, and how each kind of question contributed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from textseg.choosing.parts import COUNT, FLIP, TEXT, WEIGHTS, WORDS, ZONE
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.imaging.picture import Picture
from textseg.imaging.preprocess import to_network
from textseg.text.finding import ZONES, Finding
from textseg.text.from_mask import contradiction
from textseg.text.sides import fixed_sides, mirrored_words

SLICES = 3  # of a volume, evenly from its inside
FAINT = 16.0  # pixels of the network's square: maps that are as good as empty agree


@dataclass(frozen=True)
class Disagreement:
    """score: 0..1, the parts by WEIGHTS. parts: COUNT, ZONE, TEXT, FLIP, WORDS -> 0..1, those that could be asked.

    look: what the picture looks like to the encoder, see `look_of`.
    """

    score: float
    parts: Mapping[str, float]
    look: np.ndarray


def look_of(predictor: Predictor, picture: Picture) -> np.ndarray:
    """What a picture looks like to the model's encoder: its deepest map averaged over places and slices, C float16."""
    size = predictor.spec.input_size
    inputs = [to_network(picture.part(number, number + 1), size) for number in slices_of(len(picture.pixels))]
    return _mean([_pooled(predictor.encode(each, kept=False)) for each in inputs])


def disagreement(
    predictor: Predictor, picture: Picture, said: Said, pause: Callable[[], None] = lambda: None
) -> Disagreement:
    """Ask a model about one picture in all ways.

    pause: called before every pass through the network; it may wait, so that others come first.
    """
    said, _ = predictor.usable(picture, said)
    numbers = slices_of(len(picture.pixels))
    asked = [_Slice(predictor, picture.part(number, number + 1), said, pause) for number in numbers]
    look = _mean([each.look for each in asked])
    if said.finding is not None and said.finding.nothing:
        return Disagreement(0.0, {}, look)  # its mask is empty whatever the network says
    found = [each.parts(said) for each in asked]
    parts = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
    if said.finding is not None:
        masks = np.stack([each.mask for each in asked])
        parts[WORDS] = float(_contradicts(said.finding, masks, picture))
    return Disagreement(sum(WEIGHTS[key] * part for key, part in parts.items()), parts, look)


def slices_of(count: int) -> list[int]:
    """Which slices of a volume are looked at: SLICES of them, none at its ends; of a flat picture its only one."""
    inside = np.linspace(0, count - 1, min(count, SLICES) + 2)[1:-1]
    return sorted({int(number) for number in inside.round()})


def changed(finding: Finding) -> Iterator[tuple[str, Finding]]:
    """The finding as somebody else might have put it: one area more or less; the zones beside those named as well."""
    if finding.count:
        yield from ((COUNT, replace(finding, count=count)) for count in (finding.count - 1, finding.count + 1) if count)
    wider = replace(finding, left=_wider(finding.left), right=_wider(finding.right))
    if wider != finding:
        yield ZONE, wider


def apart(one: Tensor, other: Tensor) -> float:
    """1 - soft Dice of two maps of probabilities: 0 for the same ones, towards 1 for ones that share nothing."""
    both, squares = float((one * other).sum()), float((one * one).sum() + (other * other).sum())
    return 1 - (2 * both + FAINT) / (squares + FAINT)


class _Slice:
    """One slice, as the model sees it."""

    def __init__(self, predictor: Predictor, pixels: np.ndarray, said: Said, pause: Callable[[], None]) -> None:
        self._predictor, self._pause = predictor, pause
        self._inputs = to_network(pixels, predictor.spec.input_size)
        pause()
        self._features = predictor.encode(self._inputs, kept=False)
        self.look = _pooled(self._features)
        self._map = self._asked(self._features, said)

    @property
    def mask(self) -> np.ndarray:
        """S x S booleans."""
        return (self._map[0, 0] > self._predictor.threshold).numpy()

    def parts(self, said: Said) -> dict[str, float]:
        """How far each kind of question leads; the farthest where there are two of a kind."""
        parts: dict[str, float] = {}
        for kind, finding in changed(said.finding) if said.finding else ():
            parts[kind] = max(parts.get(kind, 0.0), apart(self._map, self._asked(self._features, Said(finding))))
        if said != Said():
            parts[TEXT] = apart(self._map, self._asked(self._features, Said()))
        if not fixed_sides(said.words):  # else the flipped picture would be asked for the side that it was before
            parts[FLIP] = apart(self._map, self._flipped(said))
        return parts

    def _asked(self, features: list[Tensor], said: Said) -> Tensor:
        self._pause()
        return self._predictor.probabilities(features, said)

    def _flipped(self, said: Said) -> Tensor:
        finding = said.finding.mirrored() if said.finding else None
        self._pause()
        features = self._predictor.encode(self._inputs.flip(-1).contiguous(), kept=False)
        mirrored = replace(said, finding=finding, words=mirrored_words(said.words))
        return self._asked(features, mirrored).flip(-1)


def _contradicts(finding: Finding, masks: np.ndarray, picture: Picture) -> bool:
    """True where the masks, N x S x S, lie elsewhere than the words say, or where a flat picture's is empty."""
    if not masks.any():
        return len(picture.pixels) == 1
    return contradiction(finding, masks.any(axis=0), picture.sides_known) is not None


def _wider(zones: tuple[str, ...]) -> tuple[str, ...]:
    named = [ZONES.index(zone) for zone in zones]
    return tuple(zone for number, zone in enumerate(ZONES) if any(abs(number - each) <= 1 for each in named))


def _pooled(features: list[Tensor]) -> np.ndarray:
    deepest = [maps for maps in features if maps.ndim == 4][-1]
    return deepest[0].float().mean(dim=(1, 2)).cpu().numpy()


def _mean(looks: list[np.ndarray]) -> np.ndarray:
    """The mean of several looks as a direction, float16."""
    mean = np.mean(looks, axis=0)
    return (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float16)
