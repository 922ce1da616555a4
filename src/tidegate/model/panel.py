"""A panel: the histories of many series up to now, side by side, for models that look at whole histories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.feed import Feed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """What many series of one resource used, on one regular grid that ends now.

    Row ``k`` covers the step that *ends* at ``start_seconds + (k + 1) * step_seconds``: the last row
    ends at `end_seconds`, which is now.
    """

    start_seconds: int
    step_seconds: int
    names: tuple[str, ...]
    """(series,) the workload of each."""
    shares: NDArray[np.float32]
    """(steps, series) demand as a share of capacity, 0-1; NaN where missing."""
    capacity: NDArray[np.float32]
    """(series,) last known capacity, base units: what a share is worth."""
    groups: tuple[str, ...] = ()
    """(series,) the server of each, or empty where unknown."""
    feeds: tuple[Feed, ...] = ()
    """What is known from outside; ask each as it is known at `end_seconds`."""

    @property
    def steps(self) -> int:
        """Length of the histories."""
        return int(self.shares.shape[0])

    @property
    def end_seconds(self) -> int:
        """Now."""
        return self.start_seconds + self.steps * self.step_seconds

    def until(self, steps: int) -> Panel:
        """Return the panel as it was after its first ``steps`` steps: nothing later can leak."""
        return replace(self, shares=self.shares[:steps])

    def of(self, series: NDArray[np.intp]) -> Panel:
        """Return the panel of some of the series."""
        return replace(
            self,
            names=tuple(self.names[at] for at in series),
            shares=self.shares[:, series],
            capacity=self.capacity[series],
            groups=tuple(self.groups[at] for at in series) if self.groups else (),
        )
