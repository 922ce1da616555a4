"""What it costs that a card is as full as it is: the share of requests that come late because of it.

Up to `CALM` of what is allocatable nothing is late. From there to full, waiting grows ever faster: a quarter
of the square of how far it is on the way. Beyond full, what can't be served is late whatever one does:
1 - 1 / load. Of all resources the fullest counts, as in the servers' score.
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
    """Return the share (...) that comes late at loads (...), 0-1; rises with load."""
    on_the_way = np.clip((load - CALM) / (1 - CALM), 0, 1)
    beyond = 1 - 1 / np.maximum(load, 1)
    found: NDArray[np.float64] = LATE_AT_FULL * on_the_way**2 + (1 - LATE_AT_FULL) * beyond
    return found
