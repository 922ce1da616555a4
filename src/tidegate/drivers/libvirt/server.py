"""A hypervisor of libvirt as clock, telemetry source and actuator: one server, its VMs, no card.

It observes unless told by name what it may act on. What it changes it notes first and gives back: when it
is closed, when it is started again after a crash, and by `release`.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tidegate.drivers.libvirt.acting import Acting, Released
from tidegate.drivers.libvirt.bulk import rates
from tidegate.drivers.libvirt.confirming import confirmed, refusal
from tidegate.drivers.libvirt.connection import AwayError, Connection
from tidegate.drivers.libvirt.frames import MEMORY, RESOURCES
from tidegate.drivers.libvirt.hand import Unwilling
from tidegate.drivers.libvirt.ledger import LEDGER_PATH, Ledger
from tidegate.drivers.libvirt.looking import Looker
from tidegate.drivers.libvirt.runner import Done, Runner, Wish
from tidegate.drivers.libvirt.seeing import Seen, Seer, blind
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase, all_confirmed
from tidegate.model.plan import Kind
from tidegate.model.roster import HOST, NO_CARD
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from tidegate.drivers.libvirt.frames import Behaviour
    from tidegate.drivers.libvirt.looking import Look
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions
    from tidegate.model.resources import Resource
    from tidegate.ports import Actuator, Clock, TelemetrySource

URI: Final = "qemu:///system"
VIOLATION_RATE: Final = 0.01
READ_SECONDS_MAX: Final = 0.5
"""How long a read waits for the daemon; what comes later serves the next one. Half a step at most."""
BALLOON_PERIOD_SECONDS: Final = 1
"""How often guests tell of their memory where nobody had asked them to."""
CLOSE_SECONDS_MAX: Final = 10.0


class LibvirtServer:
    """One hypervisor's running VMs as workloads of one server.

    `read` waits for the daemon only so long; then what is held stands, and nothing is known of what is
    used (NaN). Rates are over the time that really passed between two looks.
    """

    resources: tuple[Resource, ...] = RESOURCES
    released: Released
    """What was given back at the start, of what an earlier process had left changed."""

    def __init__(
        self,
        uri: str = URI,
        *,
        step_seconds: int,
        clock: Clock,
        chosen: Sequence[str] = (),
        act: Sequence[str] = (),
        violation_rate: float = VIOLATION_RATE,
        ledger_path: Path = LEDGER_PATH,
        name: str = "server",
        memory_step_seconds: float = BALLOON_PERIOD_SECONDS,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect, and give back what an earlier process left changed.

        ``chosen`` are globs over the names of domains: only these are workloads. ``act`` are globs of those
        that may be resized; without any, nothing is. A domain's own policy may say no.

        Raises:
            InputError: there is no step, the rate is out of range, the binding is not installed, or another
                process changes VMs with this ledger.
            AwayError: the daemon does not answer.

        """
        if step_seconds < 1:
            raise InputError(f"a step of {step_seconds} s is too short; give at least 1")
        if not 0 < violation_rate <= 0.5:
            raise InputError(f"a violation rate of {violation_rate:g} is outside (0, 0.5]; 0.01 is usual")
        self._clock, self._step_seconds, self._act = clock, step_seconds, tuple(act)
        self._wait_seconds = min(READ_SECONDS_MAX, step_seconds / 2)
        self._connection = Connection(uri, monotonic_seconds=monotonic_seconds)
        self._looker = Looker(
            self._connection,
            chosen=chosen,
            period_seconds=BALLOON_PERIOD_SECONDS,
            monotonic_seconds=monotonic_seconds,
        )
        self._connection.get()
        self._unwilling = Unwilling(monotonic_seconds)
        self._ledger: Ledger | None = None
        self._acting: Acting | None = None
        self._runner: Runner | None = None
        self.released = self._open(ledger_path, memory_step_seconds, monotonic_seconds)
        self._seer = Seer(self._ledger, name=name, violation_rate=violation_rate)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="libvirt looks")
        self._looking: Future[Look] | None = None
        self._last: Look | None = None
        self._seen: Seen | None = None
        self._away: str = ""
        self._confirmed: list[Outcome] = []

    def _open(
        self, ledger_path: Path, memory_step_seconds: float, monotonic_seconds: Callable[[], float]
    ) -> Released:
        """Get ready to act where that is wanted; give back what was left changed."""
        if not self._act and not ledger_path.exists():
            return Released()
        ledger = Ledger(ledger_path)
        acting = Acting(
            connection=self._connection,
            ledger=ledger,
            unwilling=self._unwilling,
            step_seconds=memory_step_seconds,
            monotonic_seconds=monotonic_seconds,
        )
        try:
            released = acting.restore_all()
        except BaseException:
            ledger.close()
            raise
        if not self._act:
            ledger.close()
            return released
        self._ledger, self._acting, self._runner = ledger, acting, Runner(acting.carry_out)
        return released

    @property
    def behaviour(self) -> Behaviour | None:
        """How everyone behaved up to the last look; None before it."""
        return None if self._seen is None else self._seen.behaviour

    @property
    def away(self) -> str:
        """Why the daemon could not be asked at the last read; empty where it could."""
        return self._away

    @property
    def unwilling(self) -> dict[tuple[str, str], float]:
        """Which guests did not do what they were asked, by UUID and what; seconds until they are again."""
        return self._unwilling.all()

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Whose limits `submit` would set: (resources, workloads) of the snapshot last read.

        Raises:
            RuntimeError: nothing was read yet.

        """
        if self._seen is None:
            raise RuntimeError("what can be set was asked for before the first read")
        if self._runner is None or self._away:
            return np.zeros(self._seen.settable.shape, dtype=np.bool_)
        named = [any(fnmatchcase(name, glob) for glob in self._act) for name in self._seen.roster.names]
        willing = [not self._unwilling.has(uuid, "memory_kib") for uuid in self._seen.uuids]
        settable = self._seen.settable & np.array(named, dtype=np.bool_)
        settable[MEMORY] &= np.array(willing, dtype=np.bool_)
        return settable

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._clock.now_seconds()

    def read(self) -> Snapshot:
        """Return the VMs as they are now; nothing is known of what they use where the daemon is away."""
        time_seconds = self.now_seconds()
        done = [] if self._runner is None else self._runner.take()
        look = self._look()
        if look is None:
            seen = blind(self._seen, self._seer)
        else:
            seen = self._seer.see(look, self._rates(look), time_seconds)
            self._last = look
        self._seen = seen
        self._confirm(done, seen)
        if look is not None:
            self._relieve(seen)
        workloads = len(seen.roster)
        return Snapshot(
            time_seconds=time_seconds,
            step_seconds=self._step_seconds,
            resources=RESOURCES,
            roster=seen.roster,
            places=seen.places,
            host=np.zeros(workloads, dtype=np.int32),
            card=np.full(workloads, NO_CARD, dtype=np.int32),
            used=seen.frames.used,
            capacity=seen.frames.capacity,
            pressed=seen.frames.pressed,
            grant=seen.frames.grant,
            in_flight=self._in_flight(seen),
        )

    def submit(self, actions: Actions) -> None:
        """Start the resizes that may be done; refuse all else. What becomes of them `collect` tells.

        Refused are all actions that have expired, all but resizes at the host, and those of VMs that are
        not named in ``act``, or whose owner's policy says no.
        """
        if len(actions) == 0:
            return
        rows = {row: self._wish(actions, row) for row in range(len(actions))}
        late = self.now_seconds() > actions.expires_seconds
        refused = [row for row, wish in rows.items() if wish is None or late or self._runner is None]
        if self._runner is not None and not late:
            self._runner.submit([wish for wish in rows.values() if wish is not None])
        if refused:
            self._confirmed.append(refusal(actions, refused, self._seen))

    def collect(self) -> Outcome:
        """Return what became of the actions that ended up to the last read."""
        outcomes, self._confirmed = self._confirmed, []
        return all_confirmed(outcomes)

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is in flight; whether that came about. A tick never waits: this is for tools."""
        return self._runner is None or self._runner.wait(seconds)

    def close(self) -> Released:
        """Give the owners' settings back and stop acting. Again: nothing to do.

        Raises:
            AwayError: the daemon can't be reached; everything stays noted.

        """
        runner, acting, ledger = self._runner, self._acting, self._ledger
        self._runner = self._acting = self._ledger = None
        try:
            if runner is not None:
                runner.close()
            return Released() if acting is None else acting.restore_all()
        finally:
            if ledger is not None:
                ledger.close()
            self._looker.close()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._connection.close()

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back, whatever happened."""
        self.close()

    def _look(self) -> Look | None:
        """Return the domains as they are now; None where the daemon does not tell in time."""
        looking = self._looking or self._pool.submit(self._looker.look)
        self._looking = None
        try:
            look = looking.result(self._wait_seconds)
        except TooLate:
            self._looking = looking
            self._away = f"libvirt did not answer within {self._wait_seconds:g} s"
            return None
        except AwayError as error:
            self._away = str(error)
            return None
        self._away = ""
        return look

    def _rates(self, look: Look) -> NDArray[np.float64]:
        return rates(None if self._last is None else self._last.sample, look.sample)

    def _confirm(self, done: list[Done], seen: Seen) -> None:
        """Turn what ended into an outcome, with what is held as this very read shows it."""
        asked = [one for one in done if one.wish.is_asked]
        if not asked:
            return
        for one in asked:
            if one.phase is Phase.APPLIED:
                self._seer.took(one.wish, seen)
        self._confirmed.append(confirmed(asked, seen))

    def _in_flight(self, seen: Seen) -> NDArray[np.float32]:
        """Return what each share will still change by, once what is under way has landed."""
        in_flight = np.zeros_like(seen.frames.grant)
        under_way = {} if self._runner is None else self._runner.under_way()
        for wish in under_way.values():
            at = seen.row_of(wish.workload_id)
            if at is not None and wish.is_asked:
                amount = np.float32(wish.amount) - seen.frames.grant[HOST, wish.row, at]
                in_flight[HOST, wish.row, at] = 0.0 if math.isnan(amount) else amount
        return in_flight

    def _relieve(self, seen: Seen) -> None:
        """Let the balloon of a guest out that is nearly full, or swaps, without waiting to be told."""
        if self._runner is None:
            return
        short = seen.frames.pressed[MEMORY] & self.settable[MEMORY]
        short &= seen.frames.grant[HOST, MEMORY] < seen.frames.capacity[MEMORY]
        under_way = self._runner.under_way() if short.any() else {}
        wishes = [self._whole(seen, int(at)) for at in np.flatnonzero(short)]
        self._runner.submit([wish for wish in wishes if wish.key not in under_way])

    def _whole(self, seen: Seen, at: int) -> Wish:
        sold = float(seen.frames.capacity[MEMORY, at])
        return Wish(
            uuid=seen.uuids[at],
            name=seen.roster.names[at],
            workload_id=int(seen.roster.ids[at]),
            row=MEMORY,
            amount=sold,
            sold=sold,
            is_asked=False,
        )

    def _wish(self, actions: Actions, row: int) -> Wish | None:
        """Return what an action asks of a VM; None where it is none that may be done."""
        at = None if self._seen is None else self._seen.row_of(int(actions.workload_id[row]))
        resource = actions.resources[int(actions.resource_row[row])]
        amount = float(actions.amount_to[row])
        is_resize = actions.kind[row] == Kind.RESIZE and actions.share[row] == HOST
        if self._seen is None or at is None or resource not in RESOURCES or not is_resize:
            return None
        own = RESOURCES.index(resource)
        if not self.settable[own, at] or not 0 <= amount < math.inf:
            return None
        return Wish(
            uuid=self._seen.uuids[at],
            name=self._seen.roster.names[at],
            workload_id=int(actions.workload_id[row]),
            row=own,
            asked_row=int(actions.resource_row[row]),
            amount=amount,
            sold=float(self._seen.frames.capacity[own, at]),
        )


def release(uri: str = URI, *, name: str | None = None, ledger_path: Path = LEDGER_PATH) -> Released:
    """Give back what a process that is gone had changed of all VMs, or of the one of that name or UUID.

    Raises:
        InputError: that process still runs, the file is no ledger, or nothing is noted of that VM.
        AwayError: the daemon does not answer.

    """
    if not ledger_path.exists():
        if name is not None:
            raise InputError(f"nothing of a VM '{name}' is noted as changed")
        return Released()
    connection = Connection(uri, monotonic_seconds=time.monotonic)
    ledger = Ledger(ledger_path)
    try:
        acting = Acting(
            connection=connection, ledger=ledger, unwilling=Unwilling(time.monotonic), step_seconds=1.0
        )
        return acting.restore_all(name)
    finally:
        ledger.close()
        connection.close()


def _conforms(server: LibvirtServer) -> tuple[Clock, TelemetrySource, Actuator]:
    return server, server, server
