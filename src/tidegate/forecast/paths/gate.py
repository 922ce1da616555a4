"""The gate: a small network that says how much of each candidate's distribution a series should get.

The blend is per level: softmax weights whose logits are quadratic in the level, so that the middle may come
from one candidate and the tail from another; and a shift, in units of the series' restlessness. Weights start
even and the shift at nothing, so an untrained gate is the mean of its candidates. Blending quantiles
rather than probabilities keeps the blend as sharp as its parts (Lichtendahl, Grushka-Cockayne & Winkler,
Management Science 2013). Trained on pinball loss with Adam (Kingma & Ba 2015), numpy alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import part_of
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.draws import Drawn
    from tidegate.forecast.paths.outlook import Rows

HIDDEN: Final = (64, 32)
SHIFTS: Final = 4
"""Powers of the level the shift is made of: even, tilt, curve, and the tails alone."""
SHIFT_RATIO: Final = np.float32(0.3)
"""How fast the shift learns beside the weights."""
CLIP: Final = np.float32(5)
"""What the network sees is within this many standard deviations."""
_X: Final = (2 * PATH_LEVELS - 1).astype(np.float32)
_CURVES: Final = np.stack((np.ones_like(_X), _X, _X**2))
_SHIFTS: Final = np.stack((np.ones_like(_X), _X, _X**2, _X**5))
ADAM: Final = (np.float32(0.9), np.float32(0.999), np.float32(1e-8))
GRADIENT_MAX: Final = np.float32(1)


class Gate:
    """``inputs`` -> 64 -> 32 -> weights and shift; rectified, float32."""

    def __init__(self, inputs: int, candidates: int, random: np.random.Generator) -> None:
        """Draw the first weights (He et al. 2015); the last layer starts near nothing."""
        self._candidates = candidates
        outputs = len(_CURVES) * candidates + SHIFTS
        self.weights: list[NDArray[np.float32]] = []
        for fan_in, fan_out in pairwise((inputs, *HIDDEN, outputs)):
            drawn = random.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
            self.weights += [drawn.astype(np.float32), np.zeros(fan_out, dtype=np.float32)]
        self.weights[-2] *= np.float32(0.05)
        self.centre = np.zeros(inputs, dtype=np.float32)
        self.spread = np.ones(inputs, dtype=np.float32)
        self._first = [np.zeros_like(weight) for weight in self.weights]
        self._second = [np.zeros_like(weight) for weight in self.weights]
        self._steps = 0

    def standardise(self, seen: NDArray[np.float32]) -> None:
        """Centre and scale what the network sees from a sample of it (rows, inputs)."""
        self.centre = seen.mean(axis=0)
        self.spread = seen.std(axis=0) + np.float32(1e-3)

    def blend(self, rows: Rows) -> NDArray[np.float32]:
        """Return blended quantiles (rows, levels), rising."""
        share, shift = self._shares(self._forward(self._regular(rows.seen)))
        return np.sort(_mixed(share, rows.said) + shift * rows.scale[:, None], axis=1)

    def learn(
        self,
        rows: Rows,
        drawn: Drawn,
        *,
        rate: float,
        decay: float,
        keep: NDArray[np.float32] | None = None,
    ) -> None:
        """Take one step down the weighted pinball loss of what came.

        ``keep`` (rows, hidden) is what of the first layer is kept (dropout), already scaled; ``decay`` draws
        weights toward nothing.
        """
        inputs: list[NDArray[np.float32]] = []
        out = self._forward(self._regular(rows.seen), inputs, keep)
        share, shift = self._shares(out)
        blended = _mixed(share, rows.said)
        short = drawn.came[:, None] - blended - shift * rows.scale[:, None]
        pull = drawn.weight[:, None] / np.float32(drawn.weight.size * PATH_LEVELS.size)
        slope = ((short < 0) - PATH_LEVELS) * pull
        by_share = share * (slope[:, None, :] * (rows.said - blended[:, None, :]))
        by_logit = (by_share @ _CURVES.T).transpose(0, 2, 1).reshape(drawn.weight.size, -1)
        by_shift = (slope * rows.scale[:, None]) @ _SHIFTS.T * SHIFT_RATIO
        self._adam(self._gradients(inputs, np.concatenate((by_logit, by_shift), axis=1), keep), rate, decay)

    def _regular(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip((seen - self.centre) / self.spread, -CLIP, CLIP)

    def _forward(
        self,
        values: NDArray[np.float32],
        inputs: list[NDArray[np.float32]] | None = None,
        keep: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        last = len(self.weights) - 2
        for layer in range(0, last + 1, 2):
            if inputs is not None:
                inputs.append(values)
            values = values @ self.weights[layer] + self.weights[layer + 1]
            if layer < last:
                np.maximum(values, 0, out=values)
                if keep is not None and layer == 0:
                    values *= keep
        return values

    def _shares(self, out: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return shares (rows, candidates, levels) and the shift (rows, levels) in units of restlessness."""
        count = self._candidates
        curves = out[:, : 3 * count].reshape(-1, 3, count)
        logit = np.einsum("rkc,kl->rcl", curves, _CURVES, optimize=True)
        logit -= logit.max(axis=1, keepdims=True)
        share = np.exp(logit, out=logit)
        share /= share.sum(axis=1, keepdims=True)
        return share, (out[:, 3 * count :] @ _SHIFTS) * SHIFT_RATIO

    def _gradients(
        self,
        inputs: list[NDArray[np.float32]],
        error: NDArray[np.float32],
        keep: NDArray[np.float32] | None,
    ) -> list[NDArray[np.float32]]:
        gradients: list[NDArray[np.float32]] = []
        for layer in reversed(range(0, len(self.weights), 2)):
            gradients[:0] = [inputs[layer // 2].T @ error, error.sum(axis=0)]
            if layer:
                error = (error @ self.weights[layer].T) * (inputs[layer // 2] > 0)
                if keep is not None and layer == 2:
                    error *= keep
        size = np.sqrt(sum(float(np.square(gradient).sum()) for gradient in gradients))
        shrink = np.float32(min(1.0, float(GRADIENT_MAX) / max(size, 1e-12)))
        return [gradient * shrink for gradient in gradients]

    def _adam(self, gradients: list[NDArray[np.float32]], rate: float, decay: float) -> None:
        self._steps += 1
        first_kept, second_kept, least = ADAM
        first_whole = np.float32(1 - float(first_kept) ** self._steps)
        second_whole = np.float32(1 - float(second_kept) ** self._steps)
        for at, gradient in enumerate(gradients):
            first, second = self._first[at], self._second[at]
            first += (gradient - first) * (1 - first_kept)
            second += (np.square(gradient) - second) * (1 - second_kept)
            step = (first / first_whole) / (np.sqrt(second / second_whole) + least)
            self.weights[at] -= np.float32(rate) * (step + np.float32(decay) * self.weights[at])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the weights and how inputs are scaled, by name."""
        named = {f"weights.{at}": weight.copy() for at, weight in enumerate(self.weights)}
        return named | {"centre": self.centre.copy(), "spread": self.spread.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        for at, weight in enumerate(self.weights):
            weight[...] = part_of(state, f"weights.{at}")
        self.centre = np.array(part_of(state, "centre"), dtype=np.float32)
        self.spread = np.array(part_of(state, "spread"), dtype=np.float32)


def _mixed(share: NDArray[np.float32], said: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.einsum("rcl,rcl->rl", share, said)
