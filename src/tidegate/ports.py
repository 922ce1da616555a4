"""The verbs: what each stage does, as protocols of one to three methods.

Whoever implements one of these can be plugged in by one line in `tidegate.app.registry`. A stage knows
the nouns in `tidegate.model` and nothing of its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.application import Amounts, ApplicationSpec, Running, Usage
    from tidegate.model.forecast import Forecast
    from tidegate.model.outcome import Outcome
    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths
    from tidegate.model.plan import Actions, Plan
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot
    from tidegate.model.tick import Tick


class Clock(Protocol):
    """Tells the time; nothing else in the product may."""

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        ...


class Stopwatch(Protocol):
    """Times the stages; the stage's name is the metric's name."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time what runs inside the context under ``name``."""
        ...

    def seconds(self) -> Mapping[str, float]:
        """Return the seconds of each stage since the last call, and start anew."""
        ...


class TelemetrySource(Protocol):
    """Reads the fleet."""

    def read(self) -> Snapshot:
        """Return the fleet as it is now; samples that did not arrive are NaN."""
        ...


class Forecaster(Protocol):
    """Learns from samples and says what is coming."""

    def observe(self, snapshot: Snapshot) -> None:
        """Take in one snapshot; workloads may have come, gone, been resized or renamed."""
        ...

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return what is coming for the workloads of a snapshot already observed."""
        ...


@runtime_checkable
class Thinker(Protocol):
    """Has something to do that can wait until what was decided is on its way."""

    def think(self) -> None:
        """Do it now; who is not asked does it with its next sample, and comes to the same."""
        ...


class PathForecaster(Protocol):
    """Looks at whole histories, off the hot path, and says what is coming step by step."""

    def fit(self, panel: Panel) -> None:
        """Learn from the histories; may take long. What is learned serves later panels, and other series."""
        ...

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return what follows the panel's end, from what `fit` learned and the panel's own histories."""
        ...


class Scorer(Protocol):
    """Says how hard each server will press on its cards."""

    def score(self, snapshot: Snapshot, forecast: Forecast) -> Scores | None:
        """Return 0-100 per server, or None where no server has a card."""
        ...


class Planner(Protocol):
    """Decides what every workload should hold."""

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the wanted state; never holds an actuator."""
        ...


class Guard(Protocol):
    """An ordered check."""

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan with every wanted share between what is held and what was wanted."""
        ...


class Actuator(Protocol):
    """Makes it true; a tick never waits for one."""

    def submit(self, actions: Actions) -> None:
        """Start the actions; they are in flight until collected."""
        ...

    def collect(self) -> Outcome:
        """Return what was confirmed since the last call."""
        ...


class CardRuntime(Protocol):
    """Runs applications on a card: real programs under limits. Calls may block for the time they name.

    All raise `InputError` for what can't be asked, such as a name nobody has, and `TidegateError` for what
    failed; both change nothing that they do not say.
    """

    def start(self, name: str, spec: ApplicationSpec, *, epoch: int, standby: bool) -> Running:
        """Start a program under its limits; on standby it waits for `import_state` before it serves."""
        ...

    def stop(self, name: str, *, grace_seconds: float) -> None:
        """Ask a program to end, wait so long, then end it with all its children; nothing if it is gone."""
        ...

    def adjust(self, name: str, wanted: Amounts) -> Amounts:
        """Set limits and return them as read back from the kernel; what is not said stays."""
        ...

    def found(self) -> Sequence[Running]:
        """Return everything that runs here, also what was started before this process was."""
        ...

    def usage(self) -> Sequence[Usage]:
        """Return what everyone has used until now, by name."""
        ...

    def export_state(self, name: str, moved_to: Sequence[str]) -> Iterable[bytes]:
        """Have a program serve no more and hand out its state; its clients are sent to ``moved_to``.

        Asked again it hands out the same, as long as it was given none.
        """
        ...

    def import_state(self, name: str, state: Iterable[bytes], *, state_bytes: int) -> None:
        """Give a program a state and have it serve; also takes back what it had handed out itself.

        One that serves already keeps what it has: so a call whose answer was lost can be made again.
        """
        ...


class Learner(Protocol):
    """Gets better off the hot path."""

    def learn(self, tick: Tick) -> None:
        """Take in one tick."""
        ...


class Journal(Protocol):
    """Remembers ticks."""

    def append(self, tick: Tick) -> None:
        """Store one tick."""
        ...


class Stateful(Protocol):
    """Can be saved and restored: what a component needs to go on after a restart."""

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        """Return the arrays that are this component's memory."""
        ...

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from arrays that `state` returned.

        Raises:
            InputError: an array is missing or has another shape.

        """
        ...
