"""What it costs that a card is as full as it is: how late its requests are because of it.

Up to `CALM` of what is allocatable nothing is late. From there on waiting grows ever faster: a quarter of
the square of how far it is on the way to full, which at full is the share of requests that are late. It
goes on so beyond: all share what there is, so all wait, and the more the more is asked for. It must not
flatten out there, or one card would be given up to what the others are spared; and needs are forecasts,
mostly too high. Of all resources the fullest counts, as in the servers' score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALM: Final = 0.7
"""Load up to which work arrives so far apart that it seldom waits: with random arrivals a request then
waits about 2.3 times its own service (load / (1 - load), M/M/1), at 0.9 nine times."""
LATE_AT_FULL: Final = 0.25
"""Share that is late on a card whose forecast peak just fills it."""
LOAD_MAX: Final = 10.0
"""A higher load is no worse: it has to stay a number."""


def load_of(asked: NDArray[np.float64], allocatable: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the load of the fullest resource: (resources, ...) each -> (...)."""
    found: NDArray[np.float64] = load_parts(asked, allocatable).max(axis=0)
    return found


def load_parts(asked: NDArray[np.float64], allocatable: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is asked over what is allocatable, of the same shape.

    Nothing asked is no load, even where nothing is allocatable; something asked there is an infinite one.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(asked > 0, asked / allocatable, 0.0)


def lateness_of(load: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how late requests are at loads (...): 0 and up, a quarter at full; rises ever faster."""
    on_the_way = np.maximum(np.minimum(load, LOAD_MAX) - CALM, 0) / (1 - CALM)
    found: NDArray[np.float64] = LATE_AT_FULL * on_the_way**2
    return found
