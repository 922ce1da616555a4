"""What a feed adds to a path: a shift of all quantiles, learned per group by a shrunk regression of errors.

What is known without the feed (time of day, the forecast itself, its last error) is taken out of it first, so
that a feed is credited only with what it alone knows: Frisch and Waugh, 1933, Econometrica 1(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.feeds.samples import BUCKETS, CONTROLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.forecast.feeds.alignment import Features

RIDGE_RATIO: Final = 0.02
"""Shrinkage that more samples don't wear off: what is nearly told by the time of day alone stays out."""
CONTROL_RIDGE: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coefficients:
    """How a named feed shifts the paths of each group, by lead."""

    of_feed: NDArray[np.float32]
    """(groups, buckets, columns)."""
    of_controls: NDArray[np.float32]
    """(groups, buckets, `CONTROLS`) what the model has taken in of it already, as far as the regression finds
    so: a model that follows its last error needs less of a feed, one that doesn't, all. 0 for events."""


def gram(
    features: Features,
    controls: NDArray[np.float32],
    error: NDArray[np.float32],
    *,
    chosen: NDArray[np.bool_],
    bucket: NDArray[np.int64],
    group: NDArray[np.int64],
    groups: int,
) -> NDArray[np.float64]:
    """Return sums of products of controls, columns and error: (groups, buckets, all, all).

    ``error`` (origins, leads, series) in units of its scale, NaN where missing; ``chosen`` (origins, leads)
    are the samples that count, ``bucket`` (leads,) and ``group`` (series,) say for whom.
    """
    series = group.size
    width = CONTROLS + features.values.shape[-1] + 1
    out = np.zeros((groups, BUCKETS, width, width))
    member = np.zeros((groups, series))
    member[group, np.arange(series)] = 1
    for number in range(BUCKETS):
        origin, lead = np.nonzero(chosen & (bucket == number))
        if origin.size == 0:
            continue
        both = np.empty((origin.size, series, width), dtype=np.float32)
        both[..., :CONTROLS] = controls[origin, lead]
        both[..., CONTROLS:-1] = features.values[origin, lead]
        both[..., -1] = error[origin, lead]
        counts = features.known[origin, lead] & ~np.isnan(both[..., -1])
        both = np.where(counts[..., None], both, np.float32(0)).transpose(1, 0, 2)
        products = np.matmul(both.transpose(0, 2, 1), both)
        out[:, number] = (member @ products.reshape(series, -1)).reshape(groups, width, width)
    return out


def solve(
    sums: NDArray[np.float64], *, days: float, doubt_days: tuple[float, ...], is_event: bool
) -> Coefficients:
    """Return the coefficients from sums of products over so many days, each column doubted so much."""
    count = sums[..., 0, 0]
    feed = slice(CONTROLS, -1)
    known, cross = sums[..., :CONTROLS, :CONTROLS], sums[..., :CONTROLS, feed]
    own, told = sums[..., feed, feed], sums[..., feed, -1]
    ridge = (CONTROL_RIDGE * count + 1e-6)[..., None, None] * np.eye(CONTROLS)
    shared = np.linalg.solve(known + ridge, cross)
    left = own - np.swapaxes(cross, -1, -2) @ shared
    target = told - (np.swapaxes(shared, -1, -2) @ sums[..., :CONTROLS, -1:])[..., 0]
    prior = np.array(doubt_days) * (count / max(days, 1.0))[..., None]
    shrink = RIDGE_RATIO * np.diagonal(own, axis1=-2, axis2=-1) + prior + 1e-6
    found = np.linalg.solve(left + shrink[..., None] * np.eye(own.shape[-1]), target[..., None])
    if is_event:
        of_controls = np.zeros_like(shared[..., 0])
    else:
        expected = (shared @ found)[..., 0]
        rest = sums[..., :CONTROLS, -1] - (cross @ found)[..., 0]
        taken_in = -np.linalg.solve(known + ridge, rest[..., None])[..., 0]
        of_controls = np.clip(taken_in, np.minimum(expected, 0), np.maximum(expected, 0))
    return Coefficients(of_feed=found[..., 0].astype(np.float32), of_controls=of_controls.astype(np.float32))


def shift(
    coefficients: Coefficients,
    features: Features,
    controls: NDArray[np.float32],
    *,
    bucket: NDArray[np.int64],
    group: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return by how much to shift each path, (origins, leads, series), in units of scale; 0 where unknown."""
    out = np.zeros((*controls.shape[:2], group.size), dtype=np.float32)
    for number in np.unique(bucket):
        at = np.flatnonzero(bucket == number)
        feed = coefficients.of_feed[group, number]
        known = coefficients.of_controls[group, number]
        told = (features.values[:, at] * feed).sum(axis=-1)
        expected = (controls[:, at] * known).sum(axis=-1)
        out[:, at] = np.where(features.known[:, at], told - expected, np.float32(0))
    return out
