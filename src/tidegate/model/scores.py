"""How hard each server will press on its cards: 0-100, with parts and a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Workload scores of all servers at one instant."""

    resources: tuple[Resource, ...]
    server: NDArray[np.int64]
    """(servers,) place numbers."""
    value: NDArray[np.float32]
    """(servers,) 0-100: the largest of the parts, clipped."""
    parts: NDArray[np.float32]
    """(resources, servers) 100 x demand over allocatable, not clipped."""
    demand: NDArray[np.float64]
    """(resources, servers) the SLA quantile of summed offloadable peak demand, card units."""
    allocatable: NDArray[np.float64]
    """(resources, servers) what cards can give to that server."""
    level: NDArray[np.float32]
    """(servers,) probability at which the quantile was read: 1 - the strictest SLA on the server."""
    horizon_seconds: int
    names: tuple[str, ...]
    """(servers,) what people call them."""

    def __post_init__(self) -> None:
        """Refuse a score outside 0-100.

        Raises:
            InputError: a value is below 0, above 100, or not a number.

        """
        if not ((self.value >= 0) & (self.value <= 100)).all():
            raise InputError("a score is outside 0-100; check the scenario's capacities")

    def because(self, row: int) -> str:
        """Return the one sentence that says where server ``row``'s score comes from."""
        part = int(self.parts[:, row].argmax())
        resource = self.resources[part]
        return (
            f"{resource.label}: with probability {self.level[row]:.3g} offloadable demand peaks at "
            f"{self.demand[part, row]:.4g} {resource.unit} within {self.horizon_seconds // 60} minutes, "
            f"of {self.allocatable[part, row]:.4g} allocatable on cards"
        )
