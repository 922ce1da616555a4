"""Every guest's channel: sockets that listen, ports of VMs that are dialled, and vsock where the host has it.

Who speaks is known by where it is spoken: each VM has a socket or a port of its own, and a vsock connection
its context id. Nothing that is said can change it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tidegate.agents.vral.conversation import Conversation, Turns
from tidegate.agents.vral.desk import OPERATOR, REQUESTS_BURST, REQUESTS_PER_SECOND
from tidegate.agents.vral.remarks import Remarks
from tidegate.vral.fairness import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from pathlib import Path

    from tidegate.agents.vral.desk import Desk
    from tidegate.vral.claims import Notice

GUESTS_FOLDER: Final = "guests"
SOCKET_FILE: Final = "vral.sock"
OPERATOR_SOCKET: Final = "operator.sock"
BESIDE: Final = ".new"
"""Behind a socket's name until it listens."""
PATH_BYTES_MAX: Final = 107
"""Of a Unix socket on Linux, its end not counted."""
CONNECTIONS_MAX: Final = 8
"""Of one VM at a time; further ones wait, unanswered."""
CONNECTION_COST: Final = 4.0
"""Of a connection, in tokens of requests: dialling again and again is work too."""
DIAL_AGAIN_SECONDS: Final = 0.5
DIAL_AGAIN_SECONDS_MAX: Final = 10.0
VSOCK_PORT: Final = 8257
"""Where vsock is listened on."""


class Channels:
    """All channels of one host; lives on one event loop."""

    def __init__(self, desk: Desk, folder: Path, *, forwards_seconds: Callable[[], float]) -> None:
        """Serve nobody yet."""
        self._desk, self._folder, self._now = desk, folder, forwards_seconds
        self._remarks = Remarks(forwards_seconds)
        self._turns = Turns(desk)
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._dialling: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._talking: dict[str, set[Conversation]] = {}
        self._buckets: dict[str, TokenBucket] = {}
        self._contexts: dict[int, str] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Serve the operator, and whoever `see` names, until cancelled; ``ready`` is called when it can."""
        (self._folder / GUESTS_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        operator = self._listen(OPERATOR, self._folder / OPERATOR_SOCKET, mode=0o600)
        ready()
        tasks = [asyncio.create_task(self._turns.run()), asyncio.create_task(self._vsock())]
        try:
            await asyncio.gather(*tasks)
        finally:
            ending = (*tasks, operator, *self._listening.values(), *self._dialling.values(), *self._running)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            sockets = [guest_folder(self._folder, vm) / SOCKET_FILE for vm in self._listening]
            for path in (self._folder / OPERATOR_SOCKET, *sockets):
                with suppress(OSError):
                    path.unlink()

    async def see(
        self, vms: Iterable[str], ports: Mapping[str, str], contexts: Mapping[str, int] | None = None
    ) -> None:
        """Serve these VMs from now on: each on a socket, and those with a port or a context id there too."""
        names = set(vms)
        for vm in self._listening.keys() - names:
            self._listening.pop(vm).cancel()
            self._buckets.pop(vm, None)
        self._remove_but(names)
        for vm in sorted(names - self._listening.keys()):
            path = guest_folder(self._folder, vm) / SOCKET_FILE
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._listening[vm] = self._listen(vm, path, mode=0o666)
        wanted = {(vm, path) for vm, path in ports.items() if vm in names}
        for gone in self._dialling.keys() - wanted:
            self._dialling.pop(gone).cancel()
        for vm, port in sorted(wanted - self._dialling.keys()):
            self._dialling[vm, port] = asyncio.create_task(self._dial(vm, port))
        self._contexts = {context: vm for vm, context in (contexts or {}).items() if vm in names}

    def _remove_but(self, vms: set[str]) -> None:
        """Remove the folders of VMs that are gone; others stay the same: containers have them mounted."""
        stay = {guest_folder(self._folder, vm).name for vm in vms}
        for folder in (self._folder / GUESTS_FOLDER).iterdir():
            if folder.name not in stay:
                shutil.rmtree(folder, ignore_errors=True)

    def tell(self, notices: Sequence[Notice]) -> None:
        """Send notices to those whose leases they are about."""
        for notice in notices:
            for talking in self._talking.get(notice.lease.vm, ()):
                talking.tell([notice])

    def _listen(self, vm: str, path: Path, *, mode: int) -> asyncio.Task[None]:
        beside = path.with_name(f"{path.name}{BESIDE}")
        with suppress(FileNotFoundError):
            beside.unlink()
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(beside))
            _allow(beside, mode)
            listener.listen(CONNECTIONS_MAX)
            listener.setblocking(False)  # noqa: FBT003 - its own signature
            beside.replace(path)  # whoever sees it is answered
        except BaseException:
            listener.close()
            raise
        return asyncio.create_task(self._accept(vm, listener))

    async def _accept(self, vm: str, listener: socket.socket) -> None:
        """Take connections, as many at a time and as fast as one VM may; whoever else dials waits."""
        loop, places = asyncio.get_running_loop(), asyncio.Semaphore(CONNECTIONS_MAX)
        with listener:
            while True:
                await places.acquire()
                wait = self._bucket(vm).take(self._now(), CONNECTION_COST)
                if wait:
                    await asyncio.sleep(wait)
                try:
                    connection, _ = await loop.sock_accept(listener)
                    reader, writer = await asyncio.open_unix_connection(sock=connection)
                except OSError as error:
                    self._remarks.say("a connection was not taken", vm=vm, said=str(error))
                    await asyncio.sleep(DIAL_AGAIN_SECONDS)
                    places.release()
                    continue
                self._run(self._talk(vm, reader, writer)).add_done_callback(lambda _: places.release())

    def _run(self, talk: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(talk)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _bucket(self, vm: str) -> TokenBucket:
        bucket = self._buckets.get(vm)
        if bucket is None:
            bucket = self._buckets[vm] = TokenBucket(
                per_second=REQUESTS_PER_SECOND, burst=REQUESTS_BURST, now_seconds=self._now()
            )
        return bucket

    async def _talk(self, vm: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking = self._talking.setdefault(vm, set())
        one = Conversation(
            vm, reader, writer, turns=self._turns, bucket=self._bucket(vm), forwards_seconds=self._now
        )
        talking.add(one)
        try:
            await one.run()
        finally:
            talking.discard(one)
            if not talking:
                self._talking.pop(vm, None)

    async def _dial(self, vm: str, path: str) -> None:
        """Speak through a VM's port for ever: QEMU listens there, and takes one at a time."""
        pause = DIAL_AGAIN_SECONDS
        while True:
            began = self._now()
            try:
                reader, writer = await asyncio.open_unix_connection(path)
                await self._talk(vm, reader, writer)
            except OSError as error:
                if pause == DIAL_AGAIN_SECONDS:  # once, not each time it is tried
                    self._remarks.say("a VM's port is not there", vm=vm, port=path, said=str(error))
            pause = DIAL_AGAIN_SECONDS if self._now() - began > pause else pause * 2
            pause = min(pause, DIAL_AGAIN_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _vsock(self) -> None:
        """Listen for guests by vsock; where the host has none, nothing."""
        listener = _vsock_listener()
        if listener is None:
            await asyncio.Event().wait()
            return
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                connection, (context, _) = await loop.sock_accept(listener)
                vm = self._contexts.get(context)
                if vm is None:
                    connection.close()
                    continue
                connection.setblocking(False)  # noqa: FBT003 - its own signature
                reader, writer = await asyncio.open_connection(sock=connection)
                if len(self._talking.get(vm, ())) < CONNECTIONS_MAX:
                    self._run(self._talk(vm, reader, writer))
                else:
                    writer.close()


def guest_folder(folder: Path, vm: str) -> Path:
    """Return where a VM's socket is: in a folder of its own, which can be mounted into a container.

    Named like the VM where that can be the name of a folder and is short enough, else by a digest of it.
    """
    readable = quote(vm, safe="")
    path = folder / GUESTS_FOLDER / readable
    if readable.strip(".") and len(os.fsencode(path / f"{SOCKET_FILE}{BESIDE}")) <= PATH_BYTES_MAX:
        return path
    digest = hashlib.blake2b(vm.encode(), digest_size=8).hexdigest()
    return folder / GUESTS_FOLDER / f"%{digest}"


def _allow(path: Path, mode: int) -> None:
    """Say who may connect; what a container has put in the socket's place is not followed, and left alone."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101 - a descriptor, not a path
    finally:
        os.close(descriptor)


def _vsock_listener() -> socket.socket | None:
    if not hasattr(socket, "AF_VSOCK"):
        return None
    try:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        listener.bind((socket.VMADDR_CID_ANY, VSOCK_PORT))
        listener.listen()
    except OSError:
        listener.close()
        return None
    listener.setblocking(False)  # noqa: FBT003 - its own signature
    return listener
