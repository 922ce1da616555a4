"""Moves a VM from one libvirt to another: the source's daemon speaks with the target's itself."""

from __future__ import annotations

import contextlib
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from tidegate.drivers.libvirt.binding import GONE_CODE, binding, code_of
from tidegate.drivers.libvirt.described import described
from tidegate.drivers.libvirt.ledger import LEDGER_PATH, noted, was_unplugged
from tidegate.drivers.libvirt.moving.checks import require_room
from tidegate.drivers.libvirt.moving.orders import Measured, MovePhase, Progress
from tidegate.drivers.libvirt.moving.port import Place, Route
from tidegate.drivers.libvirt.moving.storage import require_shared
from tidegate.drivers.libvirt.settings import TAP, VCPUS, Settings
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.drivers.libvirt.moving.orders import MoveOrder

KIB: Final = 1024
MIB: Final = 2**20
PHASE_FAILED: Final = "libvirt does not say why"
RUNNING_STATES: Final = frozenset({1, 2})
"""VIR_DOMAIN_RUNNING, BLOCKED."""
PAUSED: Final = 3
PAUSED_FOR_MOVE: Final = frozenset({2, 11})
"""VIR_DOMAIN_PAUSED_MIGRATION, STARTING_UP."""
OUTGOING: Final = 5
"""VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT."""
SETTLE_SECONDS_MAX: Final = 60.0
MEASURE_SECONDS_MAX: Final = 10.0
POLL_SECONDS: Final = 0.1


class DaemonWay:
    """A VM at one libvirt, to be moved to another."""

    def __init__(
        self,
        *,
        name: str,
        source: str,
        target: str,
        uri: str = "",
        target_xml: str = "",
        target_name: str = "",
        ledger_path: Path = LEDGER_PATH,
    ) -> None:
        """Connect to both.

        ``target`` is its URI as the source's daemon reaches it. ``uri`` is where memory goes, libvirt's
        choice without; ``target_xml`` the domain as it is to be there, where paths or taps differ.
        ``ledger_path`` is where the driver at the source notes what it changed.

        Raises:
            Refusal: the VM does not run there.
            TidegateError: one of them does not answer.

        """
        self._libvirt = binding()
        self._ledger_path = ledger_path
        self._uri, self._target_xml, self._target_name = uri, target_xml, target_name or name
        with contextlib.ExitStack() as opened:
            self._source = self._opened(source)
            opened.callback(self._source.close)
            self._target = self._opened(target)
            opened.callback(self._target.close)
            self._domain: Any = self._found(self._source, name)
            known = self._domain or self._found(self._target, self._target_name)
            if known is None:
                raise refusal(Because.NOT_FOUND, f"no VM '{name}' runs at {source}; 'virsh list' shows them")
            self.route = Route(
                kind="libvirt",
                uuid=known.UUIDString(),
                name=name,
                source=source,
                target=target,
                target_name=self._target_name,
            )
            opened.pop_all()
        self._thread: threading.Thread | None = None
        self._error = ""
        self._was_aborted = False
        self._last = Progress(phase=MovePhase.PENDING)

    def check(self, order: MoveOrder) -> None:
        """Look whether it can be moved so; changes nothing."""
        with self._in_a_sentence("can't be looked at"):
            self._check(order)

    def _check(self, order: MoveOrder) -> None:
        name, domain = self.route.name, self._domain
        if _host_uuid(self._source) == _host_uuid(self._target):
            raise refusal(Because.INVALID, f"VM {name} is on that host already; name another one with --to")
        if domain is None or domain.state()[0] not in RUNNING_STATES | {PAUSED}:
            raise refusal(Because.NOT_NOW, f"VM {name} does not run at the source; start it first")
        if domain.jobInfo()[0] != 0:
            raise refusal(
                Because.NOT_NOW, f"libvirt is busy with VM {name}; wait until 'virsh domjobinfo' shows no job"
            )
        if described(domain.XMLDesc(0)).is_emulated and was_unplugged(
            self._ledger_path, self.route.uuid, domain.ID()
        ):
            raise refusal(
                Because.NOT_NOW,
                f"VM {name} is emulated and lost a vCPU since it was started, after which QEMU can hang "
                "when it moves; start it anew first",
            )
        if self._at_target() is not None:
            raise refusal(
                Because.EXISTS, f"a VM {name} runs at the target already; end it there, or rename it"
            )
        free = self._target.getMemoryStats(-1)
        spare = KIB * (free.get("free", 0) + free.get("buffers", 0) + free.get("cached", 0))
        require_room(name, KIB * domain.maxMemory(), spare)
        if not order.is_storage_shared:
            require_shared(name, domain.XMLDesc(0))

    def measure(self, seconds: int) -> Measured:
        """Look for so long how much memory it uses, and how fast it writes it: the mean of whole seconds."""
        with self._in_a_sentence("can't be measured"):
            # Exact on KVM; emulated it finds nothing.
            is_emulated = described(self._domain.XMLDesc(0)).is_emulated
            mode = 0 if is_emulated else self._libvirt.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP
            rates = [self._rate(mode) for _ in range(max(seconds, 1))]
            stats = self._domain.memoryStats()
        return Measured(used_bytes=used_bytes(stats), dirty_bytes_per_second=sum(rates) / len(rates))

    def _rate(self, mode: int) -> float:
        """Return the bytes of pages that are written within a second."""
        libvirt, domain = self._libvirt, self._domain
        domain.startDirtyRateCalc(1, mode)
        deadline, pause = monotonic() + MEASURE_SECONDS_MAX, threading.Event()
        pause.wait(1.0)
        while monotonic() < deadline:
            told = self._source.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE, 0)[0][1]
            if told.get("dirtyrate.calc_status") == libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED:
                return float(told.get("dirtyrate.megabytes_per_second", 0)) * MIB
            pause.wait(POLL_SECONDS)
        raise TidegateError(f"the dirty rate of VM {self.route.name} was not measured in time; try again")

    def start(self, order: MoveOrder) -> None:
        """Begin, in a thread: libvirt's call lasts as long as the move."""
        with self._in_a_sentence("can't be moved"):
            options, flags = self._wanted(order)
        self._thread = threading.Thread(
            target=self._move, args=(options, flags), name=f"moves {self.route.name}", daemon=True
        )
        self._thread.start()

    def _wanted(self, order: MoveOrder) -> tuple[dict[str, object], int]:
        """Return the parameters and flags of libvirt's call."""
        libvirt = self._libvirt
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
        flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE if order.auto_converge else 0
        flags |= libvirt.VIR_MIGRATE_POSTCOPY if order.post_copy else 0
        flags |= libvirt.VIR_MIGRATE_UNSAFE if order.is_storage_shared else 0
        if self._domain.isPersistent():
            flags |= libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        options: dict[str, object] = {}
        if self._uri:
            options[libvirt.VIR_MIGRATE_PARAM_URI] = self._uri
        if self._target_xml:
            options[libvirt.VIR_MIGRATE_PARAM_DEST_XML] = self._target_xml
        if self._target_name != self.route.name:
            options[libvirt.VIR_MIGRATE_PARAM_DEST_NAME] = self._target_name
        if order.bytes_per_second_max < float("inf"):
            options[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = max(1, round(order.bytes_per_second_max / MIB))
        with contextlib.suppress(libvirt.libvirtError):  # older ones take it once it moves only
            self._domain.migrateSetMaxDowntime(round(1000 * order.downtime_seconds_max))
        return options, flags

    def progress(self) -> Progress:
        """Return how far it is."""
        thread = self._thread
        is_over = thread is not None and not thread.is_alive()
        told: dict[str, Any] = {}
        try:
            told = self._completed() if is_over else self._domain.jobStats()
        except self._libvirt.libvirtError:
            told = {}
        phase = MovePhase.PREPARING
        if is_over:
            phase = MovePhase.FAILED if self._error else MovePhase.SUCCEEDED
            if self._was_aborted and self._error:
                phase = MovePhase.ABORTED
        self._last = progress_of(told, self._last, phase, self._error)
        return self._last

    def switch(self) -> None:
        """Let the guest run at the target at once."""
        with contextlib.suppress(self._libvirt.libvirtError):  # it may be over this very moment
            self._domain.migrateStartPostCopy(0)

    def abort(self) -> None:
        """Stop it, where that can be done still."""
        self._was_aborted = True
        with contextlib.suppress(self._libvirt.libvirtError):
            self._domain.abortJob()

    def settle(self) -> Place:
        """End what is under way, remove what is left at the other end, and say where the VM runs."""
        if self._thread is not None:
            self._thread.join(SETTLE_SECONDS_MAX)
        with self._in_a_sentence("can't be found"):
            here = self._ended()
            there = self._at_target()
            here_runs = here is not None and _runs(here)
            there_runs = there is not None and _runs(there)
            if there_runs and here_runs:
                raise TidegateError(
                    f"VM {self.route.name} runs at both hosts; end it at one of them with 'virsh destroy'"
                )
            if there_runs:
                self._give_back(there)
                return self._at(Place.TARGET, here)
            if here is None:
                return Place.NOWHERE if there is None else self._at(Place.TARGET, None)
            if not here_runs and here.state()[0] == PAUSED and here.state()[1] in PAUSED_FOR_MOVE:
                here.resume()
            return self._at(Place.SOURCE, there)

    def close(self) -> None:
        """Hang up."""
        for one in (self._source, self._target):
            with contextlib.suppress(self._libvirt.libvirtError):
                one.close()

    @contextlib.contextmanager
    def _in_a_sentence(self, what: str) -> Iterator[None]:
        """Turn what libvirt says into a sentence."""
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise TidegateError(f"VM {self.route.name} {what} now: {error}; try again") from error

    def _move(self, options: dict[str, object], flags: int) -> None:
        try:
            self._domain.migrateToURI3(self.route.target, options, flags)
        except self._libvirt.libvirtError as error:
            self._error = str(error) or PHASE_FAILED

    def _completed(self) -> dict[str, Any]:
        """Return how the move went, as the target's libvirt kept it."""
        there = self._at_target()
        flag = self._libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED
        return {} if there is None else dict(there.jobStats(flag))

    def _ended(self) -> Any:  # noqa: ANN401 - libvirt ships no types
        """End what the source still does, and return the VM there; None where there is none."""
        deadline, pause = monotonic() + SETTLE_SECONDS_MAX, threading.Event()
        asked = False
        while True:
            here = self._found(self._source, self.route.name, self.route.uuid)
            job = None if here is None else here.jobStats()
            if job is None or job.get("type", 0) == 0 or job.get("operation") != OUTGOING:
                return here
            if not asked:
                with contextlib.suppress(self._libvirt.libvirtError):  # past the point, it goes to its end
                    here.abortJob()
                asked = True
            if monotonic() > deadline:
                raise TidegateError(
                    f"the move of VM {self.route.name} neither ends nor can be stopped; "
                    "see 'virsh domjobinfo', and settle it again"
                )
            pause.wait(POLL_SECONDS)

    def _at(self, place: Place, other: Any) -> Place:  # noqa: ANN401
        """Remove what is left at the other end: a domain that waits, and never ran, or runs no more."""
        if other is not None:
            other.destroy()
        return place

    def _give_back(self, there: Any) -> None:  # noqa: ANN401
        """Put the owner's settings back that the driver at the source had changed: they came along.

        What the target's own driver makes of the VM it decides anew. vCPUs stay as they are, and a tap's
        limit went with the tap.
        """
        settings = Settings(domain=there)
        for setting, entry in noted(self._ledger_path, self.route.uuid).items():
            if setting == VCPUS or setting.startswith(TAP):
                continue
            current = settings.read(setting)
            if current is not None and current != entry.original and entry.is_ours(setting, current):
                settings.write(setting, entry.original)

    def _at_target(self) -> Any:  # noqa: ANN401
        return self._found(self._target, self._target_name, self.route.uuid)

    def _found(self, connection: Any, name: str, uuid: str = "") -> Any:  # noqa: ANN401
        """Return the running domain of that name or UUID; None where there is none."""
        for look, key in ((connection.lookupByUUIDString, uuid), (connection.lookupByName, name)):
            try:
                found = look(key) if key else None
            except self._libvirt.libvirtError as error:
                if code_of(error) != GONE_CODE and key != name:
                    raise
                found = None
            if found is not None and found.isActive():
                return found
        return None

    def _opened(self, uri: str) -> Any:  # noqa: ANN401
        try:
            return self._libvirt.open(uri)
        except self._libvirt.libvirtError as error:
            raise TidegateError(f"libvirt at {uri} does not answer: {error}; see whether it runs") from error


def used_bytes(stats: dict[str, int]) -> float:
    """Return how much of a VM's memory was written, by what its balloon and its emulator tell.

    Where the guest says what it never touched, all but that; else what its emulator holds of the machine's.
    """
    whole = stats.get("actual", 0)
    if "unused" in stats:
        return float(KIB * max(whole - stats["unused"], 0))
    return float(KIB * min(stats.get("rss", whole), whole))


def progress_of(told: dict[str, Any], last: Progress, phase: MovePhase, error: str) -> Progress:
    """Return how far a move is by libvirt's statistics of the job; what they don't say is as before."""

    def number(key: str, before: float) -> float:
        return float(told.get(key, before))

    page = number("memory_page_size", 4096)
    if phase is MovePhase.PREPARING and number("memory_postcopy_requests", 0) > 0:
        phase = MovePhase.SWITCHING
    return Progress(
        phase=phase,
        seconds=number("time_elapsed", 1000 * last.seconds) / 1000,
        bytes_sent=int(number("memory_processed", last.bytes_sent)),
        bytes_left=int(number("memory_remaining", last.bytes_left)),
        bytes_whole=int(number("memory_total", last.bytes_whole)),
        rounds=int(number("memory_iteration", last.rounds)),
        dirty_bytes_per_second=page * number("memory_dirty_rate", last.dirty_bytes_per_second / page),
        throttle_ratio=number("auto_converge_throttle", 100 * last.throttle_ratio) / 100,
        downtime_seconds=number("downtime", 1000 * last.downtime_seconds) / 1000,
        reason=error,
        can_switch=number("memory_iteration", 0) >= 1,
    )


def _runs(domain: Any) -> bool:  # noqa: ANN401
    return domain.state()[0] in RUNNING_STATES


def _host_uuid(connection: Any) -> str:  # noqa: ANN401
    told = ET.fromstring(connection.getCapabilities())  # noqa: S314 - libvirt made it
    return told.findtext("host/uuid") or ""
