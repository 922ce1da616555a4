"""What loops watch and act on: a server or a simulated fleet, in this process or in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tidegate.ports import Actuator, Clock, TelemetrySource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.behaviour import Behaviour
    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot


class LiveServer(TelemetrySource, Actuator, Clock, Protocol):
    """This very machine, as one server."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What it measures."""
        ...

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Where limits can be set: (resources, workloads) of the snapshot last read."""
        ...

    @property
    def behaviour(self) -> Behaviour | None:
        """How everyone behaved up to the last read; None before it."""
        ...

    @property
    def given_back(self) -> int:
        """How many settings were given back at the start, which an earlier process had left changed."""
        ...

    def end(self) -> int:
        """Give the owner's settings back; return how many."""
        ...


class Steps(TelemetrySource, Actuator, Clock, Protocol):
    """A simulated fleet, as its loop has it."""


class LiveFleet(Steps, Protocol):
    """A simulated fleet that is watched."""

    @property
    def ticks_left(self) -> int:
        """Steps of the trace not yet read."""
        ...

    @property
    def used_by_place(self) -> NDArray[np.float64]:
        """What was served at each place in the step last read, in the place's units: (resources, places)."""
        ...

    @property
    def link_bytes_per_second(self) -> NDArray[np.float64]:
        """What moves carried over each link in the step last read: (links,)."""
        ...

    def go_on(self, last: Snapshot) -> None:
        """Stand after a step that was read before, everyone holding what ``last`` says."""
        ...


__all__ = ["LiveFleet", "LiveServer", "Steps"]
