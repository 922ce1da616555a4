"""Reads ports of a switch or router by SNMP, each question within a bounded time."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from typing import TYPE_CHECKING, Any, Final, Self

from tidegate.drivers.snmp.access import credentials
from tidegate.drivers.snmp.tables import (
    COLUMNS,
    DESCRIPTION,
    NAME,
    UP_TIME,
    Cells,
    Port,
    counters_of,
    is_still,
)
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tidegate.drivers.snmp.access import Access
    from tidegate.model.links import InterfaceCounters

PORTS_MAX: Final = 1024
"""Of one agent."""
ROWS_AT_ONCE: Final = 25
"""Asked for in one question of a walk: what fits a packet."""
PORTS_AT_ONCE: Final = 4
"""Asked for in one question: with ten cells each, what fits a packet."""
ANSWER_SECONDS: Final = 1.0
RETRIES: Final = 1
READ_SECONDS: Final = 15.0
"""For all questions of one reading together."""
HUNDREDTHS: Final = 100
MESSAGE_LENGTH_MAX: Final = 200


class SnmpInterfaces:
    """Ports of one agent; use it as a context manager, within one event loop."""

    def __init__(
        self,
        host: str,
        access: Access,
        *,
        port: int = 161,
        interfaces: Sequence[str] = (),
        answer_seconds: float = ANSWER_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        """Read interfaces by ifName, or ifDescr of an agent that has none; without names, all there are.

        Raises:
            InputError: pysnmp is not installed, or more interfaces are named than one agent is asked for.

        """
        if importlib.util.find_spec("pysnmp") is None:
            raise InputError("SNMP needs pysnmp; install it with: pip install 'tidegate[snmp]'")
        if len(interfaces) > PORTS_MAX:
            raise InputError(
                f"{len(interfaces)} interfaces of '{host}' are more than {PORTS_MAX}; name fewer"
            )
        self._host, self._port, self._access = host, port, access
        self._wanted = tuple(interfaces)
        self._answer_seconds, self._retries = answer_seconds, retries
        self._engine: Any = None
        self._target: Any = None
        self._credentials: Any = None
        self._ports: tuple[Port, ...] = ()
        self._starts = 0
        self._up_time: tuple[float, int] | None = None
        """When sysUpTime was read last, and what it was."""

    async def __aenter__(self) -> Self:
        """Get ready to ask; nothing is asked yet.

        Raises:
            TidegateError: the name of the host is unknown.

        """
        from pysnmp.error import PySnmpError
        from pysnmp.hlapi.v3arch import asyncio as snmp

        kind = snmp.Udp6TransportTarget if ":" in self._host else snmp.UdpTransportTarget
        try:
            self._target = await kind.create(
                (self._host, self._port), timeout=self._answer_seconds, retries=self._retries
            )
        except PySnmpError as error:
            raise TidegateError(f"SNMP agent '{self._host}' can't be found: {_told(error)}") from error
        self._engine, self._credentials = snmp.SnmpEngine(), credentials(self._access)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            self._engine.close_dispatcher()
            self._engine = None

    async def discover(self) -> tuple[Port, ...]:
        """Return every interface the agent has, the first `PORTS_MAX` of them.

        Raises:
            TidegateError: it does not answer, or does not let us in.

        """
        async with self._bounded():
            return await self._discover()

    async def read(self) -> InterfaceCounters:
        """Return the counters of the interfaces that were named, or of all.

        One that the agent lacks now has counters that are not known.

        Raises:
            TidegateError: the agent does not answer, does not let us in, or has never had one that was named.

        """
        async with self._bounded():
            if not self._ports:
                self._ports = self._chosen(await self._discover())
            cells = await self._cells()
            if not all(is_still(port, cells) for port in self._ports):
                there = {port.name: port for port in await self._discover()}
                self._ports = tuple(there.get(port.name, port) for port in self._ports)
                cells = await self._cells()
        now = time.monotonic()
        self._count_starts(now, cells.get(UP_TIME))
        return counters_of(self._ports, cells, time_seconds=now, starts=self._starts)

    def _bounded(self) -> _Bounded:
        if self._engine is None:
            raise TidegateError(f"SNMP agent '{self._host}' is not being asked; use it as a context manager")
        return _Bounded(self._host)

    def _chosen(self, found: tuple[Port, ...]) -> tuple[Port, ...]:
        if not self._wanted:
            return found
        there = {port.name: port for port in found}
        lacking = [name for name in self._wanted if name not in there]
        if lacking:
            some = ", ".join(list(there)[:10]) or "none"
            raise TidegateError(f"SNMP agent '{self._host}' has no interface '{lacking[0]}'; it has {some}")
        return tuple(there[name] for name in self._wanted)

    async def _discover(self) -> tuple[Port, ...]:
        return await self._walk(NAME) or await self._walk(DESCRIPTION)

    async def _walk(self, column: str) -> tuple[Port, ...]:
        """Return the rows of a column, by ever further questions."""
        from pysnmp.hlapi.v3arch import asyncio as snmp

        found: list[Port] = []
        last = 0
        while len(found) < PORTS_MAX:
            start = f"{column}.{last}" if last else column
            cells = await self._ask(snmp.bulk_cmd, [start], 0, ROWS_AT_ONCE)
            rows = [
                Port(name=str(value), index=int(oid.rpartition(".")[2]))
                for oid, value in cells.items()
                if oid.rpartition(".")[0] == column
            ]
            further = [row for row in rows if row.index > last]  # a broken agent may lead us in circles
            found += further
            if len(further) < len(cells) or not further:
                break
            last = further[-1].index
        return tuple(found[:PORTS_MAX])

    async def _cells(self) -> Cells:
        from pysnmp.hlapi.v3arch import asyncio as snmp

        cells: Cells = {}
        for start in range(0, len(self._ports), PORTS_AT_ONCE):
            ports = self._ports[start : start + PORTS_AT_ONCE]
            oids = [UP_TIME, *(f"{column}.{port.index}" for port in ports for column in COLUMNS)]
            cells |= await self._ask(snmp.get_cmd, oids)
        return cells

    async def _ask(self, command: Any, oids: list[str], *how: int) -> Cells:  # noqa: ANN401 - pysnmp's
        from pysnmp.hlapi.v3arch import asyncio as snmp

        problem, status, _, answer = await command(
            self._engine,
            self._credentials,
            self._target,
            snmp.ContextData(),
            *how,
            *(snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in oids),
            lookupMib=False,
        )
        if problem or status:
            said = _told(problem) if problem else status.prettyPrint()
            raise TidegateError(f"SNMP agent '{self._host}' gave no answer: {said}")
        numbers = (
            snmp.Integer,
            snmp.Integer32,
            snmp.Unsigned32,
            snmp.Gauge32,
            snmp.Counter32,
            snmp.Counter64,
            snmp.TimeTicks,
        )
        cells: Cells = {}
        for oid, value in answer:
            if isinstance(value, snmp.OctetString):
                cells[str(oid)] = bytes(value).decode("utf-8", "replace")
            elif isinstance(value, numbers):  # and not what stands for a missing cell
                cells[str(oid)] = int(value)
        return cells

    def _count_starts(self, now: float, hundredths: int | str | None) -> None:
        """Notice that the agent was started anew: it has been up for less than it should."""
        if not isinstance(hundredths, int):
            return
        if self._up_time is not None:
            then, before = self._up_time
            # Its clock and ours differ, and it tells whole hundredths.
            least = before + max(0.0, (now - then) / 2 - 0.5) * HUNDREDTHS
            if hundredths < least:
                self._starts += 1
        self._up_time = now, hundredths


class _Bounded:
    """Ends a reading that takes too long, and tells what pysnmp raises as an error of ours."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._timeout = asyncio.timeout(READ_SECONDS)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from pysnmp.error import PySnmpError

        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise TidegateError(f"SNMP agent '{self._host}' took more than {READ_SECONDS} s") from late
        if isinstance(error, PySnmpError):
            raise TidegateError(f"SNMP agent '{self._host}' can't be asked: {_told(error)}") from error


def _told(error: object) -> str:
    return str(error).strip()[:MESSAGE_LENGTH_MAX] or type(error).__name__
