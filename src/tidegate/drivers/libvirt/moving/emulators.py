"""Moves a VM between two emulators on one machine, by QMP: for hosts without libvirt, and for tests.

Both are reached by unix sockets, so both are here: what a move checks of a machine is checked of this one.
Commands and states: QEMU's QMP reference, "Migration".
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.libvirt.moving.checks import require_room, require_userfault, resident_bytes
from tidegate.drivers.libvirt.moving.orders import Measured, MovePhase, Progress
from tidegate.drivers.libvirt.moving.port import Place, Route
from tidegate.drivers.libvirt.moving.qmp import GoneError, NobodyError, Qmp, QmpError
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidegate.drivers.libvirt.moving.orders import MoveOrder

MIB: Final = 2**20
RATE_MAX: Final = 2**62
SAMPLE_PAGES: Final = 4096
"""Pages looked at twice of each GiB, to find how many were written: as many as QEMU allows."""
PRE_COPY: Final = frozenset({"setup", "active", "pre-switchover", "wait-unplug", "cancelling"})
POST_COPY: Final = frozenset({"device", "postcopy-active", "postcopy-device"})
STUCK: Final = frozenset({"postcopy-paused", "postcopy-recover", "postcopy-recover-setup"})
ENDS: Final = {
    "completed": MovePhase.SUCCEEDED,
    "failed": MovePhase.FAILED,
    "cancelled": MovePhase.ABORTED,
}
LAUNCH_SECONDS_MAX: Final = 20.0
SETTLE_SECONDS_MAX: Final = 60.0
"""How long what can't be stopped any more may take to end."""
MEASURE_SECONDS_MAX: Final = 10.0
QUIT_SECONDS_MAX: Final = 5.0
OPEN_TRIES_MAX: Final = 10
POLL_SECONDS: Final = 0.05


class EmulatorWay:
    """A VM at one control socket, to be moved to an emulator that this starts at another."""

    def __init__(
        self,
        *,
        name: str,
        uuid: str,
        source: Path,
        target: Path,
        command: Sequence[str] = (),
    ) -> None:
        """Name both control sockets.

        ``command`` starts the emulator at the target, with the same devices as the source's, and nothing on
        its standard output; what makes it wait for a VM, its control socket and ``-daemonize`` are added.
        None is needed to settle what is left.
        """
        self.route = Route(kind="qmp", uuid=uuid, name=name, source=str(source), target=str(target))
        self._source_path, self._target_path = source, target
        self._command = tuple(command)
        self._channel = target.with_name(f"{target.name}.move")
        self._source: Qmp | None = None

    def check(self, order: MoveOrder) -> None:
        """Look whether it can be moved so; changes nothing."""
        if self._source_path.resolve() == self._target_path.resolve():
            raise refusal(
                Because.INVALID, f"VM {self.route.name} is there already; name another host to move it to"
            )
        status = self._ask("query-status")["status"]
        if status not in {"running", "paused"}:
            raise refusal(Because.NOT_NOW, f"VM {self.route.name} is {status}; a VM that runs can be moved")
        if self._ask("query-migrate").get("status") in PRE_COPY | POST_COPY | STUCK:
            raise refusal(Because.NOT_NOW, f"VM {self.route.name} is being moved; wait until that is over")
        there = _opened(self._target_path)
        if there is not None:
            there.close()
            raise refusal(
                Because.EXISTS, f"an emulator answers at {self._target_path} already; end it, or name another"
            )
        require_room(self.route.name, self._memory_bytes())
        if order.post_copy:
            require_userfault()

    def measure(self, seconds: int) -> Measured:
        """Look for so long how much memory it uses, and how fast it writes it: the mean of whole seconds."""
        how: dict[str, object] = {"mode": "page-sampling", "sample-pages": SAMPLE_PAGES}
        if self._ask("query-kvm").get("enabled"):
            how = {"mode": "dirty-bitmap"}  # exact; emulated, it finds nothing
        rates = [self._rate(how) for _ in range(max(seconds, 1))]
        whole = self._memory_bytes()
        source = self._source
        assert source is not None, "it was asked just now"
        return Measured(
            used_bytes=resident_bytes(source.pid, whole), dirty_bytes_per_second=sum(rates) / len(rates)
        )

    def start(self, order: MoveOrder) -> None:
        """Start the emulator at the target, and begin."""
        self._target_path.unlink(missing_ok=True)
        self._channel.unlink(missing_ok=True)
        self._launch()
        target = Qmp(self._target_path, seconds=LAUNCH_SECONDS_MAX)
        with contextlib.closing(target):
            able = {
                "auto-converge": order.auto_converge,
                "postcopy-ram": order.post_copy,
                "return-path": True,  # a target that could not read it all makes it fail, not complete
            }
            states = {"capabilities": [{"capability": name, "state": on} for name, on in able.items()]}
            limits = {
                "max-bandwidth": int(min(order.bytes_per_second_max, RATE_MAX)),
                "downtime-limit": round(1000 * order.downtime_seconds_max),
            }
            target.ask("migrate-set-capabilities", states)
            target.ask("migrate-incoming", {"uri": f"unix:{self._channel}"})
        self._ask("migrate-set-capabilities", states)
        self._ask("migrate-set-parameters", limits)
        self._ask("migrate", {"uri": f"unix:{self._channel}"})

    def progress(self) -> Progress:
        """Return how far it is."""
        return progress_of(self._ask("query-migrate"))

    def switch(self) -> None:
        """Let the guest run at the target at once."""
        self._ask("migrate-start-postcopy")

    def abort(self) -> None:
        """Stop it, where that can be done still."""
        if self._ask("query-migrate").get("status") in PRE_COPY:
            self._ask("migrate_cancel")

    def settle(self) -> Place:
        """End what is under way, remove what is left at the other end, and say where the VM runs."""
        self.close()
        source, target = _opened(self._source_path), _opened(self._target_path)
        try:
            place = _settled(source, target, self.route.name)
            going = {Place.SOURCE: target, Place.TARGET: source, Place.NOWHERE: target}[place]
            if going is not None:
                _quit(going)
            left = self._source_path if place is Place.TARGET else self._target_path
            left.unlink(missing_ok=True)
            self._channel.unlink(missing_ok=True)
        finally:
            for one in (source, target):
                if one is not None:
                    one.close()
        return place

    def close(self) -> None:
        """Hang up."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        if self._source is None:
            self._source = Qmp(self._source_path)
        return self._source.ask(command, arguments)

    def _memory_bytes(self) -> int:
        told = self._ask("query-memory-size-summary")
        return int(told["base-memory"]) + int(told.get("plugged-memory", 0))

    def _rate(self, how: dict[str, object]) -> float:
        """Return the bytes of pages that are written within a second."""
        self._ask("calc-dirty-rate", {"calc-time": 1, **how})
        deadline, pause = monotonic() + MEASURE_SECONDS_MAX, threading.Event()
        while monotonic() < deadline:
            told = self._ask("query-dirty-rate")
            if told.get("status") == "measured":
                return float(told.get("dirty-rate", 0)) * MIB
            pause.wait(POLL_SECONDS)
        raise TidegateError(f"the dirty rate of VM {self.route.name} was not measured in time; try again")

    def _launch(self) -> None:
        """Start the emulator at the target; it goes on without us, and is its own parent's."""
        waits = ("-incoming", "defer", "-qmp", f"unix:{self._target_path},server=on,wait=off", "-daemonize")
        try:
            done = subprocess.run(  # noqa: S603 - the caller's own
                [*self._command, *waits],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                text=True,
                timeout=LAUNCH_SECONDS_MAX,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TidegateError(f"the emulator at the target did not start: {error}") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[-300:] or "it said nothing"
            raise TidegateError(f"the emulator at the target did not start: {said}")


def progress_of(told: dict[str, Any]) -> Progress:
    """Return how far a move is by what ``query-migrate`` says of it."""
    status, ram = told.get("status", "none"), told.get("ram", {})
    phase = ENDS.get(status, MovePhase.PREPARING)
    if status in POST_COPY | STUCK:
        phase = MovePhase.SWITCHING
    elif status == "none":
        phase = MovePhase.PENDING
    return Progress(
        phase=phase,
        seconds=told.get("total-time", 0) / 1000,
        bytes_sent=int(ram.get("transferred", 0)),
        bytes_left=int(ram.get("remaining", 0)),
        bytes_whole=int(ram.get("total", 0)),
        rounds=int(ram.get("dirty-sync-count", 0)),
        dirty_bytes_per_second=float(ram.get("dirty-pages-rate", 0)) * int(ram.get("page-size", 4096)),
        throttle_ratio=told.get("cpu-throttle-percentage", 0) / 100,
        downtime_seconds=told.get("downtime", 0) / 1000,
        reason=_reason(status, told),
        can_switch=status == "active",
    )


def _reason(status: str, told: dict[str, Any]) -> str:
    if status == "failed":
        return str(told.get("error-desc", "the emulator does not say why"))
    if status in STUCK:
        return "the link broke after the guest had begun to run at the target"
    return "it was stopped" if status == "cancelled" else ""


def _settled(source: Qmp | None, target: Qmp | None, name: str) -> Place:
    """End what is under way, and return where the VM is to stay."""
    there = None if target is None else str(target.ask("query-status")["status"])
    if source is None:
        # Its memory was not all there: what waits at the target never was the VM.
        return Place.NOWHERE if there in {None, "inmigrate"} else Place.TARGET
    status = _ended(source, name)
    if status != "completed":
        return Place.SOURCE
    if _taken_over(target) not in {None, "inmigrate"}:
        return Place.TARGET
    # It ran at the target, and may have written to its disks: to go on here would be to go back in time.
    raise TidegateError(
        f"VM {name} had moved, and its emulator at the target died since; what is at the source is as old as "
        f"the move: end it by 'quit' at {source.path}, or let it go on by 'cont' if that does no harm"
    )


def _ended(source: Qmp, name: str) -> str:
    """Stop a move that can be, wait for one that can't; return how it ended."""
    deadline, pause = monotonic() + SETTLE_SECONDS_MAX, threading.Event()
    asked = False
    while True:
        status = str(source.ask("query-migrate").get("status", "none"))
        if status in PRE_COPY and not asked:
            with contextlib.suppress(QmpError):  # it may be over this very moment
                source.ask("migrate_cancel")
            asked = True
        elif status not in PRE_COPY | POST_COPY | STUCK:
            return status
        if status in STUCK or monotonic() > deadline:
            raise TidegateError(
                f"VM {name} runs at the target with part of its memory still at the source ({status}); "
                "mend the link between them, and settle the move again"
            )
        pause.wait(POLL_SECONDS)


def _taken_over(target: Qmp | None) -> str | None:
    """Wait until the target has read the last of it; return the state it is in."""
    if target is None:
        return None
    deadline, pause = monotonic() + QUIT_SECONDS_MAX, threading.Event()
    while (there := str(target.ask("query-status")["status"])) == "inmigrate" and monotonic() < deadline:
        pause.wait(POLL_SECONDS)
    return there


def _opened(path: Path) -> Qmp | None:
    """Return a conversation with who answers at a socket; None where nobody listens.

    Raises:
        GoneError: somebody listens and does not answer: what it does can't be told.

    """
    pause = threading.Event()
    for tries_left in reversed(range(OPEN_TRIES_MAX)):
        try:
            return Qmp(path)
        except NobodyError:
            return None
        except GoneError as error:
            # One that is just ending may take a call and hang up.
            if isinstance(error.__cause__, TimeoutError) or not tries_left:
                raise
        pause.wait(POLL_SECONDS)
    return None


def _quit(emulator: Qmp) -> None:
    """End an emulator; one that does not want to is killed."""
    pid = emulator.pid
    with contextlib.suppress(GoneError, QmpError):
        emulator.ask("quit")
    if not emulator.hung_up(QUIT_SECONDS_MAX):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        emulator.hung_up(QUIT_SECONDS_MAX)
