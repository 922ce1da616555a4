"""A card's runtime in memory: simulated programs for tests of everything that asks for a `CardRuntime`.

The object stands for the card itself: whoever is "killed" and started again gets the same one, and finds what
ran before. Nothing moves by itself: what programs use grows with the clock, and failures come as ordered.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

from tidegate.model.application import Amounts, Running, Usage, checked_name
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tidegate.model.application import ApplicationSpec
    from tidegate.ports import CardRuntime, Clock

CHUNK_BYTES: Final = 1 << 16
"""A state is handed out in pieces of this size."""
MEMORY_BYTES_AT_FIRST: Final = 1 << 20
"""What a program uses from its start."""
RESOURCES: Final = frozenset(each.name for each in fields(Amounts))
"""All that can be limited."""


@dataclass(slots=True, kw_only=True)
class FakeProgram:
    """A simulated program: a test sets what it wants and looks at what became of it."""

    spec: ApplicationSpec
    epoch: int
    standby: bool
    held: Amounts
    state: bytes = b""
    """What it hands out: its name at first, and a test's to set."""
    serving: bool = True
    moved_to: tuple[str, ...] = ()
    """Where its clients are sent since it handed its state out."""
    processes: int = 1
    listens: bool = True
    """Whether it can be given a state."""
    ignores_asking: bool = False
    """Whether it has to be killed."""
    cpu_cores_wanted: float = 0.0
    memory_bytes: int = MEMORY_BYTES_AT_FIRST
    network_bytes_per_second_wanted: float = 0.0
    storage_bytes_per_second_wanted: float = 0.0
    requests_per_second: float = 0.0
    """Served while it serves."""
    latency_p99_seconds: float | None = None
    cpu_seconds: float = 0.0
    throttled_seconds: float = 0.0
    network_bytes: float = 0.0
    storage_bytes: float = 0.0
    requests: float = 0.0
    at_seconds: float = field(default=0.0, repr=False)
    """Until when its counters are."""

    def run_until(self, now_seconds: float) -> None:
        """Use what it wants and may, for the time that has passed."""
        passed = max(now_seconds - self.at_seconds, 0.0)
        self.at_seconds = now_seconds
        given = min(self.cpu_cores_wanted, _limit(self.held.cpu_cores))
        self.cpu_seconds += given * passed
        if given < self.cpu_cores_wanted:
            self.throttled_seconds += passed
        network = min(self.network_bytes_per_second_wanted, _limit(self.held.network_bytes_per_second))
        storage = min(self.storage_bytes_per_second_wanted, _limit(self.held.storage_bytes_per_second))
        self.network_bytes += network * passed
        self.storage_bytes += storage * passed
        self.requests += self.requests_per_second * passed if self.serving else 0.0


class FakeRuntime:
    """Runs simulated programs; another implementation of `CardRuntime`, deterministic."""

    def __init__(self, clock: Clock, *, limits: Iterable[str] = RESOURCES) -> None:
        """Run nothing yet; ``limits`` names the amounts this card can limit, of others it holds none."""
        self._clock = clock
        self._limits = frozenset(limits)
        self._programs: dict[str, FakeProgram] = {}
        self._orders: defaultdict[str, deque[tuple[bool, BaseException]]] = defaultdict(deque)
        self.calls: list[tuple[str, str]] = []
        """Every call, and the application it was about; "" of those about all."""
        self.killed: list[str] = []
        """Who did not end when asked to."""

    # --- A test's side ------------------------------------------------------------------------

    def program(self, name: str) -> FakeProgram:
        """Return a program that runs, to look at or to change.

        Raises:
            InputError: nobody has that name.

        """
        program = self._of(name)
        program.run_until(self._clock.now_seconds())
        return program

    def end(self, name: str) -> None:
        """Have a program end by itself.

        Raises:
            InputError: nobody has that name.

        """
        self._of(name)
        del self._programs[name]

    def fail(
        self, call: str, error: BaseException | None = None, *, times: int = 1, done: bool = False
    ) -> None:
        """Order that the next calls of a method fail, before they do anything or after they did it.

        ``error`` may be anything, also what stands for the death of the caller. Where `export_state` fails
        after it was done, the state breaks off in the middle.
        """
        raised = error if error is not None else TidegateError(f"{call} failed, as the test ordered")
        self._orders[call].extend([(done, raised)] * times)

    # --- The port -----------------------------------------------------------------------------

    def start(self, name: str, spec: ApplicationSpec, *, epoch: int, standby: bool) -> Running:
        """Start a simulated program; its command is not looked at.

        Raises:
            InputError: the name can't be one, or somebody has it.

        """
        broken = self._begin("start", name)
        checked_name("application", name)
        if name in self._programs:
            raise InputError(f"application {name} runs already; stop it first")
        if epoch < 0:
            raise InputError(f"epoch {epoch} of application {name} is below 0")
        if standby and not spec.hands_off:
            raise InputError(f"application {name} can't wait for a state: it does not hand off")
        now = self._clock.now_seconds()
        program = FakeProgram(
            state=name.encode(),
            spec=spec,
            epoch=epoch,
            standby=standby,
            held=Amounts(),
            serving=not standby,
            at_seconds=now,
        )
        program.held = self._limited(spec.amounts, program)
        self._programs[name] = program
        _raise_after(broken)
        return self._running(name, program)

    def stop(self, name: str, *, grace_seconds: float) -> None:
        """End a program; nothing if it is gone."""
        broken = self._begin("stop", name)
        program = self._programs.pop(name, None)
        if program is not None and program.ignores_asking:
            self.killed.append(name)
        _raise_after(broken)

    def adjust(self, name: str, wanted: Amounts) -> Amounts:
        """Set limits; a memory limit below what is in use is not set, and the one there was stays.

        Raises:
            InputError: nobody has that name.

        """
        broken = self._begin("adjust", name)
        program = self.program(name)
        program.held = self._limited(wanted, program)
        _raise_after(broken)
        return program.held

    def found(self) -> Sequence[Running]:
        """Return everything that runs, by name."""
        broken = self._begin("found", "")
        _raise_after(broken)
        return [self._running(name, program) for name, program in sorted(self._programs.items())]

    def usage(self) -> Sequence[Usage]:
        """Return what everyone used until the clock's time, by name."""
        broken = self._begin("usage", "")
        _raise_after(broken)
        now = self._clock.now_seconds()
        for program in self._programs.values():
            program.run_until(now)
        return [_usage(name, program, now) for name, program in sorted(self._programs.items())]

    def export_state(self, name: str, moved_to: Sequence[str]) -> Iterable[bytes]:
        """Have a program serve no more and hand out its state; asked again it hands out the same.

        Raises:
            InputError: nobody has that name, or it does not hand off.

        """
        broken = self._begin("export_state", name)
        program = self._handing_off(name)
        if program.standby:
            raise TidegateError(f"application {name} is on standby: it has no state to hand out")
        program.serving = False
        program.moved_to = tuple(moved_to)
        return _chunks(program.state, broken)

    def import_state(self, name: str, state: Iterable[bytes], *, state_bytes: int) -> None:
        """Give a program a state and have it serve; one that serves keeps its own.

        Raises:
            InputError: nobody has that name, or it does not hand off.
            TidegateError: the state is shorter or longer than it was said to be.

        """
        broken = self._begin("import_state", name)
        program = self._handing_off(name)
        if not program.listens:
            raise TidegateError(f"application {name} does not listen on its control socket")
        taken = b"".join(state)
        if len(taken) != state_bytes:
            raise TidegateError(
                f"the state of application {name} has {len(taken)} bytes, not {state_bytes} as it was said"
            )
        if not program.serving:
            program.state = taken
        program.serving, program.standby, program.moved_to = True, False, ()
        _raise_after(broken)

    # --- Inside -------------------------------------------------------------------------------

    def _begin(self, call: str, name: str) -> BaseException | None:
        """Note a call, and fail as ordered; return what it is to fail with once it is done."""
        self.calls.append((call, name))
        done, error = self._orders[call].popleft() if self._orders[call] else (False, None)
        if error is not None and not done:
            raise error
        return error

    def _of(self, name: str) -> FakeProgram:
        program = self._programs.get(name)
        if program is None:
            raise InputError(f"no application {name} runs here")
        return program

    def _handing_off(self, name: str) -> FakeProgram:
        program = self.program(name)
        if not program.spec.hands_off:
            raise InputError(f"application {name} does not hand off; stop it and start it elsewhere")
        return program

    def _limited(self, wanted: Amounts, program: FakeProgram) -> Amounts:
        """Return what is held once ``wanted`` was asked for."""
        known = {name: amount for name, amount in wanted.known().items() if name in self._limits}
        if known.get("memory_bytes", math.inf) < program.memory_bytes:
            del known["memory_bytes"]  # what is in use is not taken away
        return Amounts(**program.held.known() | known)  # type: ignore[arg-type] # names and types are the fields'

    @staticmethod
    def _running(name: str, program: FakeProgram) -> Running:
        return Running(
            name=name,
            epoch=program.epoch,
            standby=program.standby,
            processes=program.processes,
            held=program.held,
            listens=program.listens,
        )


def _limit(amount: float | None) -> float:
    return math.inf if amount is None else amount


def _raise_after(error: BaseException | None) -> None:
    if error is not None:
        raise error


def _chunks(state: bytes, broken: BaseException | None) -> Iterator[bytes]:
    """Hand a state out in pieces; half of it where it is to break."""
    end = len(state) if broken is None else len(state) // 2
    for start in range(0, end, CHUNK_BYTES):
        yield state[start : min(start + CHUNK_BYTES, end)]
    _raise_after(broken)


def _usage(name: str, program: FakeProgram, now_seconds: float) -> Usage:
    exports = program.latency_p99_seconds is not None
    return Usage(
        name=name,
        time_seconds=now_seconds,
        cpu_seconds=program.cpu_seconds,
        memory_bytes=program.memory_bytes,
        network_bytes=round(program.network_bytes),
        storage_bytes=round(program.storage_bytes),
        throttled_seconds=program.throttled_seconds,
        latency_p99_seconds=program.latency_p99_seconds,
        requests=round(program.requests) if exports else None,
    )


def _conforms(clock: Clock) -> Callable[[], CardRuntime]:
    return lambda: FakeRuntime(clock)
