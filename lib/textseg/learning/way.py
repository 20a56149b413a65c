"""How far a candidate goes from the weights that serve towards the trained ones: half of the way, or less.

Weights between the two keep most of what was learnt and lose less of what was known (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from textseg.data.seen import Seen
from textseg.engine.weights import save_weights

SHARES = (1.0, 0.5, 0.25)  # of the way; the first one counts that does not go too far, see `gate.goes_too_far`
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Candidate:
    """A network on its way, its stored weights, what its training was, and the pictures that it has seen."""

    network: nn.Module
    path: Path
    manifest: dict[str, Any]
    seen: Seen


@dataclass(frozen=True)
class Way:
    """start: the weights that serve; end: the trained ones; network: of their form. path, manifest, seen: see above."""

    network: nn.Module
    start: State
    end: State
    path: Path
    manifest: dict[str, Any]
    seen: Seen

    def stop_at(self, share: float) -> Candidate:
        """The candidate that has gone this share of the way, 0..1; it takes the place of the one before."""
        self.network.load_state_dict(between(self.start, self.end, share))
        manifest = {**self.manifest, "retrained": {**self.manifest["retrained"], "share": share}}
        encoder = self.network.text_encoder
        if encoder is not None:  # it was trained too
            manifest["text_encoder"] = {**manifest["text_encoder"], "sha256": encoder.identity()}
        save_weights(self.network, self.path, manifest)
        return Candidate(self.network, self.path, manifest, self.seen)


def state_of(network: nn.Module) -> State:
    """A copy of its weights, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}


def between(start: State, end: State, share: float) -> State:
    """start + share * (end - start) of all floats; whole numbers are those of the end."""
    return {key: start[key].lerp(value, share) if value.is_floating_point() else value for key, value in end.items()}
