"""The shared network: from what is remembered of a series to the distribution of its next peak.

A classifier over bins of (next peak - last sample), in shares of capacity; a softmax over ordered bins
is a whole distribution, so its upper tail is an exceedance curve that falls by construction. It learns
online from all series of one resource, with numpy alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import part_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OFFSETS: Final = np.array(
    [
        *(-0.8, -0.5, -0.3, -0.2, -0.13, -0.08, -0.05, -0.03, -0.018, -0.01, -0.005, -0.002),
        *(0.001, 0.003, 0.006, 0.01, 0.015, 0.02, 0.027, 0.035, 0.045, 0.06, 0.08, 0.1),
        *(0.13, 0.16, 0.2, 0.25, 0.31, 0.38, 0.47, 0.57, 0.7, 0.85),
    ],
    dtype=np.float32,
)
"""Bin edges, in shares of capacity around the last sample: fine near it, where most steps end, and
growing by about a fifth further out, so that a grant read off the ladder is at most that much too big."""
HIDDEN: Final = (48, 32)
"""Widths of the two hidden layers: doubling them bought less than 1 % of reserve on Bitbrains."""
ADAM_FIRST: Final = np.float32(0.9)
ADAM_SECOND: Final = np.float32(0.99)
ADAM_EPSILON: Final = np.float32(1e-8)
"""Adam (Kingma & Ba, 2015), with a shorter second memory: the fleet's habits change."""


class Network:
    """``inputs`` -> 48 -> 32 -> 35 bins, rectified; cross-entropy, Adam; float32 throughout."""

    def __init__(self, inputs: int, random: np.random.Generator) -> None:
        """Draw the first weights (He et al. 2015, a little smaller)."""
        sizes = (inputs, *HIDDEN, OFFSETS.size + 1)
        self.weights: list[NDArray[np.float32]] = []
        for fan_in, fan_out in pairwise(sizes):
            drawn = random.standard_normal((fan_out, fan_in)) * np.sqrt(1.5 / fan_in)
            self.weights += [drawn.astype(np.float32), np.zeros((fan_out, 1), dtype=np.float32)]
        self._first = [np.zeros_like(weight) for weight in self.weights]
        self._second = [np.zeros_like(weight) for weight in self.weights]
        self._steps = 0

    def learn(
        self,
        features: NDArray[np.float32],
        bins: NDArray[np.int64],
        censored: NDArray[np.bool_],
        rate: float,
    ) -> None:
        """Take one step on a batch: features (inputs, batch) and the bin each next peak fell in.

        Of a censored peak only "this bin or above" is known: its target is the network's own belief
        about those bins (the expectation step of EM), so it never teaches that demand is low.
        """
        inputs: list[NDArray[np.float32]] = []
        believed = self.masses(features, inputs)
        believed /= believed.sum(axis=0)
        error = (believed - _targets(believed, bins, censored)) / np.float32(bins.size)
        gradients: list[NDArray[np.float32]] = []
        for layer in reversed(range(0, len(self.weights), 2)):
            slope = (error @ inputs[layer // 2].T).astype(np.float32, copy=False)
            gradients[:0] = [slope, error.sum(axis=1, keepdims=True)]
            if layer:
                error = (self.weights[layer].T @ error) * (inputs[layer // 2] > 0)
        self._adam(gradients, rate)

    def masses(
        self, features: NDArray[np.float32], inputs: list[NDArray[np.float32]] | None = None
    ) -> NDArray[np.float32]:
        """Return how likely each bin is, not normalised, (bins, series) of ``features`` (inputs, series).

        Notes each layer's input in ``inputs``.
        """
        values = features
        last = len(self.weights) - 2
        for layer in range(0, last + 1, 2):
            if inputs is not None:
                inputs.append(values)
            values = self.weights[layer] @ values
            values += self.weights[layer + 1]
            if layer < last:
                np.maximum(values, 0, out=values)
        values -= values.max(axis=0)
        np.exp(values, out=values)
        return values

    def _adam(self, gradients: list[NDArray[np.float32]], rate: float) -> None:
        self._steps += 1
        first_whole = np.float32(1 - float(ADAM_FIRST) ** self._steps)
        second_whole = np.float32(1 - float(ADAM_SECOND) ** self._steps)
        for at, gradient in enumerate(gradients):
            first, second = self._first[at], self._second[at]
            first += (gradient - first) * (1 - ADAM_FIRST)
            second += (gradient**2 - second) * (1 - ADAM_SECOND)
            pace = np.sqrt(second / second_whole) + ADAM_EPSILON
            self.weights[at] -= np.float32(rate) * (first / first_whole) / pace

    def state(self) -> dict[str, NDArray[Any]]:
        """Return weights and what Adam remembers, by name."""
        lists = {"weights": self.weights, "first": self._first, "second": self._second}
        named = {
            f"{name}.{at}": array.copy() for name, arrays in lists.items() for at, array in enumerate(arrays)
        }
        return named | {"steps": np.array(self._steps)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        for name, arrays in (("weights", self.weights), ("first", self._first), ("second", self._second)):
            for at, array in enumerate(arrays):
                array[...] = part_of(state, f"{name}.{at}")
        self._steps = int(part_of(state, "steps"))


def exceedance(masses: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Write P(next peak - last sample > offset) into ``out`` (offsets, series) and return it.

    ``masses`` (bins, series) are used up. Summed row by row from the highest bin down: a running sum along
    the first axis of a C-ordered array is many times slower.
    """
    above = masses[-1]
    for offset in range(OFFSETS.size - 1, -1, -1):
        out[offset] = above
        above += masses[offset]
    out /= above
    return out


def _targets(
    believed: NDArray[np.float32], bins: NDArray[np.int64], censored: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """One-hot bins (bins, batch); for censored ones the belief above their bin, normalised."""
    targets = np.zeros_like(believed)
    targets[bins, np.arange(bins.size)] = 1
    if censored.any():
        above = believed[:, censored] * (np.arange(believed.shape[0])[:, None] >= bins[censored])
        targets[:, censored] = above / np.maximum(above.sum(axis=0), np.float32(1e-9))
    return targets


def bin_of(rise: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the bin of each (next peak - last sample), in shares of capacity."""
    return np.searchsorted(OFFSETS, rise, side="left")
