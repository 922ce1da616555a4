"""This very machine, watched and, where its owner agrees, acted on: a loop with its journal."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.artefacts import model_store
from tidegate.app.day_ahead import KIND, OFF, Beside, DayAheadOptions, spoken_by
from tidegate.app.registry import LIVE
from tidegate.app.service import Service
from tidegate.app.wiring import LOCAL_LIMITS, SHADOWS, GuardLimits, local
from tidegate.drivers.local.ledger import LEDGER_PATH
from tidegate.drivers.local.server import LocalServer
from tidegate.forecast.profile import Profile
from tidegate.journal.sql.controls import AUTONOMY_DEFAULT
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.learn.observing import Observing
from tidegate.model.autonomy import Level
from tidegate.plan.shadows import Shadows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tidegate.app.resume import Resumed
    from tidegate.app.sources import LiveServer
    from tidegate.journal.sql.opening import Location
    from tidegate.journal.sql.writer import SqlJournal
    from tidegate.model.autonomy import Autonomy
    from tidegate.model.tick import Tick

EVERYONE: Final = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """How a machine is run."""

    policy: str = "tidegate"
    model: str = LIVE
    step_seconds: int = 1
    acts: bool = False
    """Whether limits of those whose autonomy is `auto` are set; needs root."""
    chosen: tuple[str, ...] = ()
    """Which workloads there are, by pattern; the usual ones without any."""
    autonomy: Level = Level.OBSERVE
    """Of whom no rule names."""
    violation_rate: float = 0.01
    seed: int = 0
    limits: GuardLimits = LOCAL_LIMITS
    retention: Retention = field(default_factory=Retention)
    day_ahead: DayAheadOptions = field(default_factory=lambda: DayAheadOptions(model=OFF))
    ledger: Path = LEDGER_PATH
    """Where the owner's settings are noted before they are changed."""


class Machine:
    """Turns the loop of this machine; `running` makes one."""

    def __init__(self, server: LiveServer, journal: SqlJournal, options: MachineOptions) -> None:
        """Stand before the first tick.

        Raises:
            InputError: nobody goes by the policy's name, or the day ahead's model can't be used.

        """
        self.server, self.options = server, options
        spoken = spoken_by(
            options.day_ahead,
            model_store(None, server),
            server.resources,
            step_seconds=options.step_seconds,
            seed=options.seed,
        )
        self.notes = spoken.notes
        """What a person should know of the models that say the day ahead."""
        self._beside = Beside(
            options.day_ahead,
            spoken,
            resources=server.resources,
            step_seconds=options.step_seconds,
            tell=lambda sentence: self.tell(KIND, sentence),
        )
        self._controls = journal.controls(options.autonomy)
        self._journal = journal
        profile = Profile(step_seconds=options.step_seconds)
        loop = local(
            server,
            policy_name=options.policy,
            model=options.model,
            step_seconds=options.step_seconds,
            seed=options.seed,
            limits=options.limits,
            journal=journal,
            learner=Observing(profile, profile),
            autonomy=self.autonomy,
            around=self._beside,
        )
        self._service = Service(loop=loop, journal=journal)
        self.resumed: Resumed | None = None
        self.last: Tick | None = None
        self.ticks = 0
        self.short = np.zeros(len(server.resources), dtype=np.int64)
        """Samples that ran short since this start (resources,)."""
        self.samples = np.zeros(len(server.resources), dtype=np.int64)

    @property
    def company(self) -> Shadows:
        """Who runs in the policy's shadow."""
        planner = self._service.loop.planner
        assert isinstance(planner, Shadows), "a machine's policy is always in company"
        return planner

    def autonomy(self) -> Autonomy:
        """Return how far it may go with whom, as of now."""
        return self._controls.autonomy()

    def go_on(self, where: Location) -> Resumed | None:
        """Go on from the journal; None at the first start.

        Raises:
            TidegateError: a part of the journal that is needed is missing or damaged.

        """
        self.resumed = self._service.go_on(where)
        return self.resumed

    def tick(self) -> Tick:
        """Turn once."""
        tick = self._service.tick()
        present = ~np.isnan(tick.snapshot.used)
        self.short += (tick.snapshot.pressed & present).sum(axis=1)
        self.samples += present.sum(axis=1)
        self.last = tick
        self.ticks += 1
        return tick

    def close(self) -> None:
        """End the work on the day ahead."""
        self._beside.close()

    def tell(self, kind: str, sentence: str) -> None:
        """Note something a person should know in the journal."""
        self._journal.event(self.server.now_seconds(), kind, sentence)


def in_this_process(options: MachineOptions) -> AbstractContextManager[LiveServer]:
    """Return this machine as it is watched, and acted on, by this very process.

    Raises:
        InputError: acting is not possible here.
        TidegateError: the kernel refuses an owner's value that is to be put back.

    """
    return LocalServer(
        step_seconds=options.step_seconds,
        chosen=options.chosen,
        act=EVERYONE if options.acts else (),
        violation_rate=options.violation_rate,
        ledger_path=options.ledger,
    )


@contextmanager
def running(
    where: Location,
    options: MachineOptions,
    watched: Callable[[MachineOptions], AbstractContextManager[LiveServer]] = in_this_process,
) -> Iterator[Machine]:
    """Lend this machine's loop, gone on from its journal; the owner's settings are back at the end.

    Raises:
        InputError: the journal is another loop's or in use, or acting is not possible here.
        TidegateError: the journal is damaged or newer, or a setting can't be put back.

    """
    with (
        watched(options) as server,
        opened(where, _identity(server, options), options.retention) as journal,
    ):
        machine = Machine(server, journal, options)
        machine.go_on(where)
        journal.remark(AUTONOMY_DEFAULT, options.autonomy.label)
        machine.tell("started", f"started with policy {options.policy}, step {options.step_seconds} s")
        _tell_released(machine, server.given_back, "at the start, left by a process that did not end well")
        for note in machine.notes:
            machine.tell(KIND, note)
        try:
            yield machine
        finally:
            _tell_released(machine, server.end(), "at the end")
            machine.close()
            machine.tell("stopped", f"stopped after {machine.ticks} ticks")


def _identity(server: LiveServer, options: MachineOptions) -> dict[str, str]:
    return {
        "loop": "machine",
        "policy": options.policy,
        "model": options.model,
        "step": f"{options.step_seconds} s",
        "resources": ",".join(resource.label for resource in server.resources),
        "seed": str(options.seed),
        "league": ",".join((options.policy, *SHADOWS)),
    }


def _tell_released(machine: Machine, settings: int, when: str) -> None:
    if settings:
        machine.tell("released", f"gave back {settings} settings {when}")


__all__ = ["EVERYONE", "Machine", "MachineOptions", "in_this_process", "running"]
