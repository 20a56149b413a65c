"""Pictures unlike each other first, so that twenty of them are not twenty times the same one."""

import numpy as np

MOST = 2000  # pictures among which the next one is looked for, those of the greatest worth


def spread(looks: np.ndarray, worth: np.ndarray, covered: np.ndarray, count: int) -> list[int]:
    """An order of N pictures: greedily the one whose worth times its distance from all before it is greatest.

    looks: N x C, what they look like. worth: N, 0 or more; all ones: farthest first alone (k-centre). covered: M x C,
    looks of pictures that were taken earlier. count: so many are chosen that way, the others follow by their worth.
    Returns the N row numbers.
    """
    by_worth = np.argsort(-worth, kind="stable")
    first = by_worth[:MOST]
    directions = _directions(np.concatenate([looks[first], covered]))
    own, before = directions[: len(first)], directions[len(first) :]
    nearest = 1 - (own @ before.T).max(axis=1) if len(before) else np.ones(len(own), np.float32)
    free = np.ones(len(own), bool)
    order: list[int] = []
    for _ in range(min(count, len(own))):
        gain = np.where(free, worth[first] * np.maximum(nearest, 0), -1.0)
        best = int(gain.argmax())
        order.append(int(first[best]))
        free[best] = False
        nearest = np.minimum(nearest, 1 - own @ own[best])
    chosen = set(order)
    return order + [int(number) for number in by_worth if number not in chosen]


def _directions(looks: np.ndarray) -> np.ndarray:
    """Where each picture lies as seen from the middle of all, as unit vectors: what all share does not count."""
    looks = looks.astype(np.float32)
    centred = looks - looks.mean(axis=0) if len(looks) else looks
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
