"""Records -> training samples held in memory at the network's size -> batches."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from textseg.data.augment import Augment, AugmentSettings, Sample
from textseg.data.phantoms import draw_radiograph, random_places
from textseg.data.records import Record
from textseg.engine.distributed import is_first
from textseg.engine.texts import Said, TextReader
from textseg.imaging.preprocess import mask_to_network, to_network


def load_samples(records: list[Record], size: int) -> list[Sample]:
    """Every slice of every record with its mask at size x size, and what is said of it. Shows a bar on a terminal."""
    shown = tqdm(records, desc="reading pictures", leave=False, disable=None if is_first() else True)
    return [sample for record in shown for sample in _load(record, size)]


def draw_samples(count: int, seed: int, size: int) -> list[Sample]:
    """Drawn phantoms as samples; the same seed draws the same ones."""
    random = np.random.default_rng(seed)
    drawn = [draw_radiograph(random_places(random), seed=seed + index, size=size) for index in range(count)]
    return [Sample(phantom.image, phantom.mask, phantom.finding) for phantom in drawn]


def draw_healthy(count: int, seed: int, size: int) -> list[Sample]:
    """Drawn phantoms without infection, and words that deny any."""
    drawn = [draw_radiograph({}, seed + index, size) for index in range(count)]
    return [Sample(phantom.image, phantom.mask, phantom.finding) for phantom in drawn]


def batch_of(reader: TextReader, samples: list[Sample]) -> dict[str, Tensor]:
    """image: B x 3 x S x S in 0..1; mask: B x 1 x S x S; text: as `reader` reads it."""
    images = torch.from_numpy(np.stack([_unit(sample.image) for sample in samples]))[:, None]
    masks = torch.from_numpy(np.stack([sample.mask for sample in samples]).astype(np.float32))[:, None]
    text = reader([Said(sample.finding, sample.bilateral, sample.words) for sample in samples])
    return {"image": images.expand(-1, 3, -1, -1), "mask": masks, "text": text}


class TrainingSamples(Dataset):
    """Augmented samples. An index is (epoch, number): each draw depends on seed, epoch and number alone."""

    def __init__(self, samples: list[Sample], settings: AugmentSettings, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self.augment = Augment(settings, size=samples[0].image.shape[0])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: tuple[int, int]) -> Sample:
        epoch, number = index
        stored = self.samples[number]
        sample = replace(stored, image=_unit(stored.image), mask=stored.mask.astype(np.float32))
        draw = np.random.SeedSequence((self.seed, epoch, number)).generate_state(1)[0]
        self.augment.set_random_state(int(draw))
        return self.augment(sample)


def _load(record: Record, size: int) -> Iterator[Sample]:
    picture, masks = record.load()
    for number in range(len(masks)):
        part = slice(number, number + 1)
        image = (to_network(picture.part(number, number + 1), size)[0, 0] * 255).round().byte().numpy()
        mask = mask_to_network(masks[part], size)[0, 0].byte().numpy()
        yield Sample(image, mask, record.finding, record.bilateral, record.words, record.complete)


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
