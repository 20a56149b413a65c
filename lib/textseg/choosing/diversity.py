"""Pictures unlike each other first, so that twenty of them are not twenty times the same one."""

import numpy as np


def spread(looks: np.ndarray, worth: np.ndarray, covered: np.ndarray, count: int) -> list[int]:
    """An order of N pictures: greedily the one whose worth times its distance from all before it is greatest.

    looks: N x C, what they look like. worth: N, 0 or more; all ones: farthest first alone (k-centre). covered: M x C,
    looks of pictures that were taken earlier. count: so many are chosen that way, the others follow by their worth.
    Returns the N row numbers.
    """
    directions = _directions(np.concatenate([looks, covered]))
    own, before = directions[: len(looks)], directions[len(looks) :]
    nearest = 1 - (own @ before.T).max(axis=1) if len(before) else np.ones(len(own), np.float32)
    free = np.ones(len(own), bool)
    order: list[int] = []
    for _ in range(min(count, len(own))):
        gain = np.where(free, worth * np.maximum(nearest, 0), -1.0)
        best = int(gain.argmax())
        order.append(best)
        free[best] = False
        nearest = np.minimum(nearest, 1 - own @ own[best])
    rest = np.flatnonzero(free)
    return order + [int(number) for number in rest[np.argsort(-worth[rest], kind="stable")]]


def _directions(looks: np.ndarray) -> np.ndarray:
    """Where each picture lies as seen from the middle of all, as unit vectors: what all share does not count."""
    looks = looks.astype(np.float32)
    centred = looks - looks.mean(axis=0) if len(looks) else looks
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
