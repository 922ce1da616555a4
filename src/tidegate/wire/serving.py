"""Serves the protocol on one address, guarded: mutual TLS wherever another machine could listen."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from tidegate.model.errors import InputError
from tidegate.wire.addresses import TcpAddress, UnixAddress, address_of
from tidegate.wire.certificates import Renewed
from tidegate.wire.guarding import Guard
from tidegate.wire.limits import CALLS_MAX, GRACE_SECONDS, MESSAGE_BYTES_MAX, SERVER, with_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tidegate.ports import Clock
    from tidegate.wire.addresses import Address

SOCKET_MODE: Final = 0o660
"""Of a Unix socket: its owner and its group may ask."""
LISTENER_WAIT_SECONDS: Final = 1.0
"""How long somebody who may still listen on a socket has to take us in."""


@dataclass(frozen=True, slots=True)
class Served:
    """One service: its full name, and what adds it to a server."""

    name: str
    """As in `tidegate.card.v1.CardService`."""
    add: Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that serves."""

    address: str
    """Where; the port is the one that was taken."""
    server: grpc.aio.Server

    async def ended(self) -> None:
        """Wait until it serves no more."""
        await self.server.wait_for_termination()


@asynccontextmanager
async def serving(
    address: str,
    services: Sequence[Served],
    *,
    clock: Clock,
    certificates: Path | None = None,
    grace_seconds: float = GRACE_SECONDS,
    message_bytes_max: int = MESSAGE_BYTES_MAX,
) -> AsyncIterator[Listening]:
    """Serve inside the context; at its end, calls have ``grace_seconds`` before they are cut off.

    ``certificates`` is a folder as in `tidegate.wire.certificates`; TCP is served with it, where it is given.
    A Unix socket is guarded by its mode instead.

    Raises:
        InputError: the address is none, taken, or heard by other machines without certificates, or these
            are not good.

    """
    where = address_of(address)
    renewed = _renewed(where, certificates, clock)
    guard = Guard(_everybody if renewed is None else renewed.check)
    options = with_messages(SERVER, message_bytes_max)
    server = grpc.aio.server(interceptors=[guard], options=options, maximum_concurrent_rpcs=CALLS_MAX)
    well = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(well, server)
    for service in services:
        service.add(server)
    named = (health.SERVICE_NAME, reflection.SERVICE_NAME, *(service.name for service in services))
    reflection.enable_server_reflection(named, server)
    listening = Listening(str(_bound(server, where, renewed)), server)
    await server.start()
    try:
        for service in services:
            await well.set(service.name, health_pb2.HealthCheckResponse.SERVING)
        yield listening
    finally:
        await well.enter_graceful_shutdown()
        await server.stop(grace_seconds)


def _everybody(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Accept whoever could open a socket of this machine."""


def _renewed(where: Address, certificates: Path | None, clock: Clock) -> Renewed | None:
    if isinstance(where, UnixAddress):
        return None
    if certificates is None:
        if not where.stays_here:
            raise InputError(
                f"{where} can be heard by other machines and is not served without certificates; give a "
                "folder of them ('tidegate certs issue' makes it), or listen on 127.0.0.1 or a unix: socket"
            )
        return None
    return Renewed(certificates, clock)


def _bound(server: grpc.aio.Server, where: Address, renewed: Renewed | None) -> Address:
    if isinstance(where, UnixAddress):
        return _bound_socket(server, where)
    try:
        if renewed is None:
            port = server.add_insecure_port(where.target)
        else:
            port = server.add_secure_port(where.target, renewed.server_credentials())
    except RuntimeError as error:
        said = f"{where} can't be listened on; is it taken, or an address of another machine?"
        raise InputError(said) from error
    return TcpAddress(where.host, port)


def _bound_socket(server: grpc.aio.Server, where: UnixAddress) -> UnixAddress:
    _refuse_taken(where)
    before = os.umask(0o777 & ~SOCKET_MODE)  # closed from its first moment on
    try:
        server.add_insecure_port(where.target)
        Path(where.path).chmod(SOCKET_MODE)
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{where} can't be listened on; give a socket in a folder that exists and is writable"
        ) from error
    finally:
        os.umask(before)
    return where


def _refuse_taken(where: UnixAddress) -> None:
    """Refuse a path where somebody listens, or where there is something else; gRPC removes a stale socket.

    Raises:
        InputError: so it is.

    """
    try:
        mode = os.lstat(where.path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"{where.path} is there and no socket; choose another path, or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(LISTENER_WAIT_SECONDS)
        try:
            probe.connect(where.path)
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise InputError(
                f"{where} is there already and does not answer ({error}); end who has it"
            ) from error
    raise InputError(f"somebody listens on {where} already; end that one, or choose another path")
