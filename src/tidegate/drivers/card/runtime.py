"""Runs applications as processes of this machine, in cgroups of their own; they outlive whoever started them.

What an application is lies in three places, none of them in this process: the processes in its cgroup, its
limits in the kernel, and a small record (name, epoch, standby) written before it runs. So a runtime that was
killed at any point is replaced by a new one over the same folder.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.drivers.card import control
from tidegate.drivers.card.behaviour import Behaviour
from tidegate.drivers.card.caps import Caps, block_devices
from tidegate.drivers.card.groups import KILL_SECONDS_MAX, Groups
from tidegate.drivers.card.logs import Logs
from tidegate.drivers.card.network import CLASSES, Network
from tidegate.drivers.card.owning import FOLDER_MODE, owned
from tidegate.drivers.card.records import Record, Records
from tidegate.drivers.card.starting import (
    Launched,
    ask_to_end,
    command_of,
    environment_of,
    leave,
    wait_until_gone,
)
from tidegate.drivers.card.use import usage_of
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.model.application import Amounts, Running, checked_name
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tidegate.model.application import ApplicationSpec, Usage
    from tidegate.ports import CardRuntime

PROCESSES_MAX: Final = 4096
"""Processes and threads of one application, unless told otherwise."""
TURNS: Final = 256
"""So many applications can be changed at the same time."""
UNKNOWN_EPOCH: Final = -1
"""Of what is found running and has lost its record: older than anything that is wanted."""


class ProcessRuntime:
    """A card on this very machine; one process at a time may run it."""

    def __init__(
        self,
        card: str,
        *,
        folder: Path | None = None,
        namespace: str | None = None,
        network_bytes_per_second: int | None = None,
        processes_max: int = PROCESSES_MAX,
        root: Path = Path("/"),
    ) -> None:
        """Take over the card of this name, with everything that runs on it.

        Records, logs, control sockets and the applications' own folders are in ``folder``. Programs run in
        the network ``namespace``, if one is named: only then is the network limited, as a whole to
        ``network_bytes_per_second``.

        Raises:
            InputError: another process runs this card, the folder can't be used, there is no such namespace,
                or this machine has no cgroups.

        """
        checked_name("card", card)
        self._folder = Path(f"/run/tidegate/{card}") if folder is None else folder.absolute()
        self._root = root
        hierarchy = find_hierarchy(root)
        self._groups = Groups(hierarchy, card)
        self._caps = Caps(hierarchy=hierarchy, devices=block_devices(root))
        self._lock = owned(self._folder, card)
        self._records = Records(self._folder / "records")
        self._logs = Logs(self._folder / "logs")
        self._processes_max = processes_max
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._turns = tuple(threading.Lock() for _ in range(TURNS))
        self._numbers = threading.Lock()
        self._behaviour = Behaviour(self._sockets)
        try:
            self._network = (
                None if namespace is None else Network(namespace, bytes_per_second=network_bytes_per_second)
            )
        except TidegateError:
            os.close(self._lock)
            raise
        self._sweep()

    def close(self) -> None:
        """Let go of the card; everything on it runs on."""
        self._behaviour.close()
        leave(self._children.values())
        if self._network is not None:
            self._network.close()
        self._groups.close()
        os.close(self._lock)

    # --- The port -----------------------------------------------------------------------------

    def start(self, name: str, spec: ApplicationSpec, *, epoch: int, standby: bool) -> Running:
        """Start a program under its limits; on standby it waits for `import_state` before it serves.

        Raises:
            InputError: it can't be asked for: the name is taken, there are too few ports, no right to do it.
            TidegateError: the program can't be started; nothing is left of it.

        """
        checked_name("application", name)
        command = command_of(name, spec)
        socket = self._socket(name)
        if len(os.fsencode(socket)) > control.SOCKET_PATH_BYTES_MAX:
            raise InputError(
                f"the path of control socket {socket} is too long for one; give the card a shorter folder"
            )
        if epoch < 0:
            raise InputError(f"epoch {epoch} of application {name} is below 0")
        if standby and not spec.hands_off:
            raise InputError(f"application {name} can't wait for a state: it does not hand off")
        with self._turn(name):
            if self._groups.members(name):
                raise InputError(f"application {name} runs already; stop it first")
            self._forget(name)
            try:
                self._start(name, spec, command, epoch=epoch, standby=standby)
            except BaseException:
                self._end(name)
                raise
            return self._running(name, self._records.read(name), self._rates())

    def stop(self, name: str, *, grace_seconds: float) -> None:
        """Ask a program to end, wait so long, then end it with all its children; nothing if it is gone.

        Its log stays, and its own folder where anything is in it.

        Raises:
            TidegateError: some of it does not end.

        """
        checked_name("application", name)
        with self._turn(name):
            record = self._records.read(name)
            if record is not None and grace_seconds > 0:
                descriptor = ask_to_end(record, lambda: self._groups.members(name))
                if descriptor is not None:
                    wait_until_gone(descriptor, grace_seconds)
            self._end(name)

    def adjust(self, name: str, wanted: Amounts) -> Amounts:
        """Set limits and return them as read back from the kernel; what is not said stays.

        Raises:
            InputError: nobody has that name.
            TidegateError: the network's rates can't be set.

        """
        with self._turn(name):
            record = self._require(name)
            self._limit(name, wanted, record)
            return self._held(name, self._records.read(name), self._rates())

    def found(self) -> Sequence[Running]:
        """Return everything that runs here, by name, also what was started before this process was."""
        self._reap()
        rates = self._rates()
        found = [self._running(name, self._records.read(name), rates) for name in self._groups.names()]
        return [running for running in found if running.processes]

    def usage(self) -> Sequence[Usage]:
        """Return what everyone has used until now, by name."""
        self._reap()
        said = self._behaviour.last()
        sent = {} if self._network is None else {n: each[1] for n, each in self._network.read().items()}
        found = []
        for name in self._groups.names():
            if not self._groups.members(name):
                continue
            self._logs.cut(name)
            record = self._records.read(name)
            number = 0 if record is None else record.network_class
            used = usage_of(
                self._groups.hierarchy,
                self._groups.path(name),
                root=self._root,
                name=name,
                time_seconds=time.time(),
                network_bytes=sent.get(number),
                said=said.get(name),
            )
            if used is not None:
                found.append(used)
        return found

    def export_state(self, name: str, moved_to: Sequence[str]) -> Iterable[bytes]:
        """Have a program serve no more and hand out its state; its clients are sent to ``moved_to``.

        May be asked again, as long as the program was not given a state. Who stops taking before the end has
        nothing, and the program serves on.

        Raises:
            InputError: nobody has that name, or it does not hand off.
            TidegateError: it hangs, ends or says what can't be.

        """
        self._require_handing_off(name)
        return control.export(name, self._socket(name), moved_to)

    def import_state(self, name: str, state: Iterable[bytes], *, state_bytes: int) -> None:
        """Give a program a state and have it serve; also takes back what it had handed out itself.

        Raises:
            InputError: nobody has that name, it does not hand off, or no state can be so large.
            TidegateError: it hangs or ends, or the state is not as long as was said.

        """
        self._require_handing_off(name)
        if not 0 <= state_bytes <= control.STATE_BYTES_MAX:
            raise InputError(
                f"a state of {state_bytes} bytes can't be moved; at most {control.STATE_BYTES_MAX}"
            )
        control.import_(name, self._socket(name), state, state_bytes=state_bytes)
        with self._turn(name):
            record = self._records.read(name)
            if record is not None and record.standby:
                self._write(msgspec.structs.replace(record, standby=False))

    # --- Starting and ending ------------------------------------------------------------------

    def _start(
        self, name: str, spec: ApplicationSpec, command: list[str], *, epoch: int, standby: bool
    ) -> None:
        """Make its cgroup and limits, write it down, and let the waiting process become the program."""
        own = self._folder / "applications" / name
        try:
            own.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise TidegateError(f"folder {own} can't be made ({error.strerror})") from error
        self._groups.make(name)
        self._caps.set_processes(self._groups.path(name), self._processes_max)
        with contextlib.closing(Launched()) as launched:
            record = Record(
                name=name,
                epoch=epoch,
                standby=standby,
                hands_off=spec.hands_off,
                ports=spec.ports,
                pid=launched.process.pid,
                started_ticks=launched.started_ticks,
            )
            self._children[name] = launched.process
            self._write(record)
            self._limit(name, spec.amounts, record)
            launched.go(
                {
                    "command": command,
                    "environment": environment_of(spec, control=self._socket(name), standby=standby),
                    "working_folder": spec.working_folder or str(own),
                    "members_files": self._groups.members_files(name),
                    "namespace_file": "" if self._network is None else str(self._network.file),
                    "log_file": str(self._logs.file(name)),
                }
            )

    def _end(self, name: str) -> None:
        """End everyone in its cgroup, and remove what was made for it."""
        child = self._children.pop(name, None)
        if child is not None and child.poll() is None and child.pid not in self._groups.members(name):
            child.kill()  # it never got its order
        self._groups.kill(name)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(KILL_SECONDS_MAX)
        self._forget(name)
        self._logs.cut(name)
        self._logs.drop(set(self._groups.names()))

    def _forget(self, name: str) -> None:
        """Remove what was made for one that is gone."""
        record = self._records.read(name)
        if record is not None and record.network_class and self._network is not None:
            self._network.drop(record.network_class)
        self._groups.remove(name)
        self._socket(name).unlink(missing_ok=True)
        self._records.remove(name)
        with contextlib.suppress(OSError):  # somebody's files are in it
            (self._folder / "applications" / name).rmdir()

    def _sweep(self) -> None:
        """Remove what is left of those that are gone: of one that ended while nobody ran this card too."""
        names = self._groups.everywhere() | self._records.names()
        names |= {socket.name for socket in (self._folder / "control").iterdir()}
        for name in names:
            if not self._groups.members(name):
                with contextlib.suppress(OSError, TidegateError):  # tried again when it is started or stopped
                    self._forget(name)

    def _reap(self) -> None:
        """Take note of children that ended, so that the kernel can forget them."""
        for child in list(self._children.values()):
            child.poll()
        leave(())

    # --- Limits -------------------------------------------------------------------------------

    def _limit(self, name: str, wanted: Amounts, record: Record | None) -> None:
        self._caps.apply(self._groups.path(name), wanted)
        rate = wanted.network_bytes_per_second
        if rate is None or record is None or self._network is None or not record.ports:
            return
        with self._numbers:
            if not record.network_class:
                record = msgspec.structs.replace(record, network_class=self._free_number())
                self._write(record)
            self._network.limit(record.network_class, record.ports, rate)

    def _free_number(self) -> int:
        records = [self._records.read(name) for name in self._groups.names()]
        taken = {record.network_class for record in records if record is not None}
        for number in CLASSES:
            if number not in taken:
                return number
        raise TidegateError(
            f"the network of this card has classes for {len(CLASSES)} applications, all taken"
        )

    def _rates(self) -> Mapping[int, int]:
        return {} if self._network is None else {n: each[0] for n, each in self._network.read().items()}

    def _held(self, name: str, record: Record | None, rates: Mapping[int, int]) -> Amounts:
        rate = None if record is None else rates.get(record.network_class)
        return Amounts(network_bytes_per_second=rate).over(self._caps.held(self._groups.path(name)))

    # --- What is known ------------------------------------------------------------------------

    def _running(self, name: str, record: Record | None, rates: Mapping[int, int]) -> Running:
        return Running(
            name=name,
            epoch=UNKNOWN_EPOCH if record is None else record.epoch,
            standby=record is not None and record.standby,
            processes=len(self._groups.members(name)),
            held=self._held(name, record, rates),
            # Its program makes the socket, and there is none before: `_forget` removes the last one's.
            listens=record is None or not record.standby or self._socket(name).exists(),
        )

    def _require(self, name: str) -> Record | None:
        checked_name("application", name)
        if not self._groups.members(name):
            raise InputError(f"no application {name} runs here")
        return self._records.read(name)

    def _require_handing_off(self, name: str) -> None:
        record = self._require(name)
        if record is not None and not record.hands_off:
            raise InputError(f"application {name} does not hand off; stop it and start it elsewhere")

    def _write(self, record: Record) -> None:
        try:
            self._records.write(record)
        except OSError as error:
            raise TidegateError(
                f"application {record.name} can't be written down in {self._folder} ({error.strerror})"
            ) from error

    def _socket(self, name: str) -> Path:
        return self._folder / "control" / name

    def _sockets(self) -> dict[str, Path]:
        """Return the control sockets of those that have one and run."""
        sockets = {name: self._socket(name) for name in self._groups.names()}
        return {name: path for name, path in sockets.items() if path.exists() and self._groups.members(name)}

    def _turn(self, name: str) -> threading.Lock:
        """Return what lets one call after the other change an application."""
        return self._turns[hash(name) % TURNS]


def _conforms(runtime: ProcessRuntime) -> CardRuntime:
    return runtime
