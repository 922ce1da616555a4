"""The fast loop of a device: its servers and its own applications, predicted and sized each step."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from tidegate.agents.device.budgeting import BUDGETED, EVERY_SECONDS, cuts
from tidegate.agents.device.outlook import Outlook, ServerOutlook
from tidegate.agents.servers.expecting import STEP_SECONDS as LOOK_SECONDS
from tidegate.agents.servers.expecting import Expecting
from tidegate.agents.servers.foretelling import Foretelling
from tidegate.agents.servers.loop import device_loop
from tidegate.agents.servers.own import FIELDS, OwnApplications
from tidegate.agents.servers.pressing import Pressing
from tidegate.agents.servers.servers import Servers
from tidegate.agents.servers.service import TelemetryService, served
from tidegate.agents.servers.turning import Turning
from tidegate.app.registry import LIVE
from tidegate.app.service import Service
from tidegate.journal.sql.controls import AUTONOMY_DEFAULT
from tidegate.model.application import Amounts
from tidegate.model.autonomy import Autonomy, Level
from tidegate.model.errors import TidegateError
from tidegate.model.links import Consumer
from tidegate.model.resources import Resource
from tidegate.plan.consent import Consent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.agents.device.services.device import Device
    from tidegate.agents.servers.rehearsal import Rehearsal
    from tidegate.journal.sql.controls import Controls
    from tidegate.journal.sql.opening import Location
    from tidegate.journal.sql.writer import SqlJournal
    from tidegate.loop import Loop
    from tidegate.model.snapshot import Snapshot
    from tidegate.model.tick import Tick
    from tidegate.wire.serving import Served

RESOURCES: Final = (Resource.CPU, Resource.MEMORY, Resource.NETWORK, Resource.STORAGE)
"""What a card decides on; slices of GPUs are not sized by the second."""


FAILED_MAX: Final = 3
"""Turns that fail one after the other before servers get no more signs of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How a device decides."""

    policy: str = "tidegate"
    model: str = LIVE
    step_seconds: int = 1
    seed: int = 0
    journalled: bool = True
    """Whether each turn is written down before what it orders is done."""
    autonomy: Level = Level.AUTO
    """Of whom no rule in the journal names."""

    def identity(self, card: str) -> dict[str, str]:
        """Return which loop a journal is of."""
        return {
            "loop": "device",
            "card": card,
            "policy": self.policy,
            "model": self.model,
            "step": f"{self.step_seconds} s",
            "resources": ",".join(resource.label for resource in RESOURCES),
            "seed": str(self.seed),
        }


@dataclass(slots=True, kw_only=True)
class Deciding:
    """Runs the fast loop of one device."""

    device: Device
    sizes: Sizes
    rehearsal: Rehearsal | None = None
    """What walks the way of a decision shortly before one is due; nothing, if there is none."""
    journal: SqlJournal | None = None
    """Where each turn is written down before anything of it is done; nowhere, if there is none."""
    seen: Callable[[Tick], None] = lambda _tick: None
    servers: Servers = field(init=False)
    _loop: Loop = field(init=False)
    _kept: Service | None = field(init=False)
    """The loop with its journal, where there is one."""
    _own: OwnApplications = field(init=False)
    _turning: Turning = field(init=False)
    _service: TelemetryService = field(init=False)
    _foretelling: Foretelling = field(init=False)
    _expecting: Expecting = field(init=False)
    _pressing: Pressing = field(init=False)
    _controls: Controls | None = field(init=False)
    """What people say in the journal; None without one."""
    _allowed: Autonomy = field(init=False)
    """What they said last."""
    _consent: Consent = field(init=False)
    """What that means for budgets; the loop has its own."""
    _ready: bool = False
    """Whether the coming turn has the sample of the card's own applications."""
    _turn: Tick | None = None
    """The last one, of which servers are told what it expects once its orders are out."""
    _failed: int = 0
    """Turns that failed one after the other."""
    _looked: int = 0
    """When what is expected was last written down, in steps of `LOOK_SECONDS`."""
    _ordered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where orders wait for the card's own applications."""

    def __post_init__(self) -> None:
        """Plug it together.

        Raises:
            InputError: nobody goes by the policy's or the model's name.

        """
        card, sizes = self.device.card, self.sizes
        self._allowed = Autonomy(default=sizes.autonomy)
        self._controls = None if self.journal is None else self.journal.controls(sizes.autonomy)
        if self.journal is not None:
            self.journal.remark(AUTONOMY_DEFAULT, sizes.autonomy.label)
        self.listen()
        self._consent = Consent(lambda: self._allowed)
        self.servers = Servers(
            card=card.name,
            epoch=card.settings.starts,
            now_nanoseconds=card.now,
            step_seconds=sizes.step_seconds,
            resources=RESOURCES,
            called=self._called,
        )
        loop = device_loop(
            self.servers,
            resources=RESOURCES,
            step_seconds=sizes.step_seconds,
            policy_name=sizes.policy,
            model=sizes.model,
            seed=sizes.seed,
            journal=self.journal,
            autonomy=lambda: self._allowed,
        )
        self._foretelling = Foretelling(servers=self.servers)
        self._own = OwnApplications(
            device=self.device,
            servers=self.servers,
            resources=RESOURCES,
            step_seconds=sizes.step_seconds,
        )
        self._loop = loop
        self._kept = None if self.journal is None else Service(loop=loop, journal=self.journal)
        self._turning = Turning(
            self.servers,
            self._tick,
            step_seconds=sizes.step_seconds,
            think=self._think,
            make_ready=self._make_ready,
            own=self._own.name,
        )
        self._service = TelemetryService(
            self.servers,
            card=card.name,
            now_nanoseconds=card.now,
            arrived=self._turning.arrived,
            follows=self._turning.follows,
            decides=self.decides,
            carried=self._carried,
            link=self._link,
            foretold=self._foretelling.take,
        )
        self.device.pci = self._pci
        self._expecting = Expecting(resources=RESOURCES, seed=sizes.seed)
        self._pressing = Pressing(resources=RESOURCES)

    def _carried(self, server: str, received: int, sent: int) -> None:
        """Note bytes of telemetry on a server's link."""
        self.device.ledger.count(server, Consumer.TELEMETRY, received=received, sent=sent)

    def _link(self, server: str) -> int:
        """Return what a server's link carries; 0 where nobody knows."""
        way = self.device.way_to(server)
        return 0 if way is None else way.capacity_bytes_per_second or 0

    def _pci(self) -> dict[str, float]:
        """Return what PCI links carry, by server, as told."""
        return {
            one.server: one.pci_bytes_per_second for one in self.servers.told() if one.pci_bytes_per_second
        }

    @property
    def served(self) -> Served:
        """The telemetry stream, for a server."""
        return served(self._service)

    def go_on(self, where: Location) -> None:
        """Go on from what was written down before.

        Raises:
            TidegateError: a part of the journal that is needed is missing or damaged.

        """
        if self._kept is not None:
            self._kept.go_on(where)

    async def run(self) -> None:
        """Decide until cancelled."""
        try:
            self._own.greet()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._turning.run())
                tasks.create_task(self._pace())
                tasks.create_task(self._carry_out())
                tasks.create_task(self._keep_budgets())
        except Exception as error:
            self._failed = FAILED_MAX  # nobody looks at this task before the device ends
            _log("the fast loop has ended unexpectedly", error)
            raise

    def _tick(self) -> None:
        """Turn the loop once; one turn that fails costs a step, and grants stand."""
        try:
            if not self._ready:
                self._own.sample()
            self._ready = False
            self._turn = self._turned()
            self.seen(self._turn)
            self._failed = 0
        except Exception as error:  # noqa: BLE001 - the next one may do better
            self._failed += 1
            self.servers.withdraw()
            _log("a turn of the fast loop failed unexpectedly", error)

    def listen(self) -> None:
        """Hear what people say of autonomy; what they said last holds where that can't be read.

        Beside the turns: from samples to orders nothing waits for it.
        """
        if self._controls is None:
            return
        try:
            self._allowed = self._controls.autonomy()
        except TidegateError as error:
            _log("autonomy can't be read, and is as it was last", error)

    def decides(self) -> bool:
        """Return whether turns succeed: where all fail, servers are not to rely on it."""
        return self._failed < FAILED_MAX

    def _turned(self) -> Tick:
        """Turn the loop; servers hear what it orders only after this, so after it was written down."""
        return self._loop.tick() if self._kept is None else self._kept.decide()

    def _think(self) -> None:
        """Do what no order waits for; where it fails, the next turn begins with it."""
        try:
            self._look()
            if self._turn is not None and self.servers.want_foretold:
                self._foretelling.seen(self._turn)
            (self._kept or self._loop).think()
            if self.rehearsal is not None:
                self.rehearsal.think()
        except Exception as error:  # noqa: BLE001 - the next one may do better
            _log("thinking after a turn failed unexpectedly", error)

    def _make_ready(self) -> None:
        """Take in how the card's own applications are, and walk the way of a decision."""
        try:
            self._own.sample()
            self._ready = True
            if self.rehearsal is not None:
                self.rehearsal.rehearse()
        except Exception as error:  # noqa: BLE001 - the turn itself may do better
            _log("making ready for a turn failed unexpectedly", error)

    def _look(self) -> None:
        """Follow what the card's own applications need, by the sample that the last turn was shown."""
        snapshot = self._own.snapshot
        if snapshot is None:
            return
        self._expecting.show(replace(snapshot, capacity=self._own.ceilings))
        self._pressing.show(snapshot, self._own.servers_of)
        if snapshot.time_seconds // LOOK_SECONDS != self._looked:
            self._looked = snapshot.time_seconds // LOOK_SECONDS
            self._tell(snapshot)

    def _called(self, server: str) -> None:
        """Wake whoever carries out what was ordered there."""
        if server == self._own.name:
            self._ordered.set()
        self._service.call(server)

    async def _carry_out(self) -> None:
        """Do what is ordered for the card's own applications, as soon as it is."""
        while True:
            await self._ordered.wait()
            self._ordered.clear()
            try:
                await self._own.carry_out()
            except Exception as error:  # noqa: BLE001 - the next orders may fare better, and grants stand
                _log("orders for the card's own applications failed unexpectedly", error)

    async def _keep_budgets(self) -> None:
        """Bring those over their budget a step down, now and then."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.keep_budgets()

    async def keep_budgets(self) -> None:
        """Take one step with each who is over its budget and may be acted on."""
        card = self.device.card
        with card.lock:
            here = list(card.applications.values())
        latest = {one.name: self.device.profiling.latest(one.name) for one in here}
        used = {name: sample.used for name, sample in latest.items() if sample is not None}
        due = cuts(here, used, card.now())
        refused, _ = self._consent.asked(tuple(due))
        for (name, lower), is_refused in zip(due.items(), refused.tolist(), strict=True):
            if is_refused:
                continue
            try:
                await self.device.do(partial(self.device.sizing.adjust, name, lower, reason=BUDGETED))
            except Exception as error:  # noqa: BLE001 - the others go on
                _log(f"application {name} could not be brought to its budget", error)

    async def _pace(self) -> None:
        """Turn the loop each step where no server does by its samples."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.listen()
            self._turning.due()
            due = max(due + self.sizes.step_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    def _tell(self, snapshot: Snapshot) -> None:
        """Write down what is expected, for the fleet manager."""
        expected = {}
        for name in snapshot.roster.names:
            said = self._expecting.expected(name)
            if said is not None:
                expected[name] = _amounts(said.tolist())
        whose = self._own.servers_of
        own = self._own
        scores = self._pressing.scores(snapshot, whose, own.allocatable, own.reserved)
        pressures = {one.server: one for one in scores}
        known = {one.server: one for one in self.servers.told() if one.server != self._own.name}
        self.device.outlook = Outlook(
            expected=expected,
            servers=tuple(
                ServerOutlook(
                    server=name,
                    score=pressures[name].score if name in pressures else 0.0,
                    reason=pressures[name].reason if name in pressures else "none of its work is done here",
                    workloads=known[name].workloads if name in known else 0,
                    heard_nanoseconds=known[name].heard_nanoseconds if name in known else 0,
                    lost=known[name].lost if name in known else False,
                )
                for name in sorted(known.keys() | pressures.keys())
            ),
        )


def _log(what: str, error: Exception) -> None:
    structlog.get_logger(__name__).error(what, exc_info=error)


def _amounts(said: list[float]) -> Amounts:
    pairs = zip(RESOURCES, said, strict=True)
    known = {FIELDS[resource]: amount for resource, amount in pairs if math.isfinite(amount)}
    return Amounts(
        **{name: amount if name == "cpu_cores" else round(amount) for name, amount in known.items()}  # type: ignore[arg-type]
    )
