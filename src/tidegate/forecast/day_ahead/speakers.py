"""Who says a resource's coming day: one trained model for all its series, or models of each series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.ports import PathForecaster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Speaker:
    """A path model at work for one resource; exactly one of ``trained`` and ``fresh`` is given.

    Costs are estimates that the caller gives, not times measured: the same input chooses the same series.
    """

    name: str
    """What people call it: a stored model's name, or a kind's."""
    paths_seconds: float
    """What asking it for one series' day costs."""
    fit_seconds: float = 0.0
    """What fitting one series costs; 0 for a trained model."""
    trained: PathForecaster | None = None
    """One for all series, which learned before; it is only asked."""
    fresh: Callable[[], PathForecaster] | None = None
    """Makes one that is fitted on the series it is to speak for."""

    def __post_init__(self) -> None:
        """Refuse who would have nobody or two to ask, or costs nothing.

        Raises:
            InputError: it does.

        """
        if (self.trained is None) == (self.fresh is None):
            raise InputError(f"'{self.name}' must be either trained or made fresh for its series")
        if not (self.paths_seconds > 0 and self.fit_seconds >= 0):
            raise InputError(f"'{self.name}' costs {self.paths_seconds} s a series; give more than 0")
