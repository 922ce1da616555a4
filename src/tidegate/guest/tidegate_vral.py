#!/usr/bin/env python3
"""Claims resources from the host, from inside any Linux guest or container: this file and Python only.

    tidegate_vral.py claim memory 2G --min 1G --ttl 60       prints the lease, a line of JSON
    tidegate_vral.py renew lease-1
    tidegate_vral.py release lease-1
    tidegate_vral.py list
    tidegate_vral.py watch                                   prints notices as they come

As a module: `with Vral() as host: lease = host.claim("cpu", 2.0)`. The protocol is one JSON object a line;
docs/reference/vral-protocol.md describes it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import stat
import sys
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

VERSION = 1
PORT_NAME = "org.tidegate.vral.0"
PORT_PATH = "/dev/virtio-ports/" + PORT_NAME
SOCKET_PATH = "/run/tidegate/vral.sock"
LINE_BYTES_MAX = 65536
ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 2.0
"""A request that is not answered for so long is sent again: under its id it is done once."""
NOBODY_SECONDS = 0.05
"""How often a port without anybody at the host's end is looked at again."""
NOTICES_MAX = 256
"""Notices kept until they are asked for; beyond, the oldest go."""
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class VralError(Exception):
    """The host did not do it; `code` is its word for why, `error` all that it said."""

    def __init__(self, code: str, say: str, error: dict[str, Any] | None = None) -> None:
        """Say why."""
        super().__init__(say)
        self.code, self.error = code, error or {}


class Vral:
    """A guest's line to its host."""

    def __init__(self, channel: str | None = None, *, seconds: float = ANSWER_SECONDS) -> None:
        """Open the channel: a port, a socket or ``vsock:CID:PORT``; by default the first that is there.

        Raises:
            VralError: there is none, or it can't be opened.

        """
        self.channel = channel or find_channel()
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._file = -1
        self._rest = b""
        self._notices: deque[dict[str, Any]] = deque(maxlen=NOTICES_MAX)
        self._open()

    def hello(self) -> dict[str, Any]:
        """Return what the host can do: versions, kinds that can be leased, limits."""
        return self.ask("hello")

    def claim(self, kind: str, wanted: float, **fields: object) -> dict[str, Any]:
        """Return the lease that serves a claim; ``fields`` are those of the protocol (`class_` for class).

        Raises:
            VralError: FAILURE, where its code is ``short`` and ``error`` names what is missing; or refused.

        """
        fields = {name.rstrip("_"): value for name, value in fields.items() if value is not None}
        return self.ask("claim", kind=kind, wanted=wanted, **fields)["lease"]

    def renew(self, lease: str, **fields: object) -> dict[str, Any]:
        """Return the lease, which holds on; `wanted`, `min`, `burst` and `ttl_seconds` may change."""
        fields = {name: value for name, value in fields.items() if value is not None}
        return self.ask("renew", lease=lease, **fields)["lease"]

    def release(self, lease: str) -> None:
        """Give a lease back."""
        self.ask("release", lease=lease)

    def list(self) -> list[dict[str, Any]]:
        """Return all leases of this guest."""
        return self.ask("list")["leases"]

    def watch(self, seconds: float = 60.0) -> Iterator[dict[str, Any]]:
        """Yield notices for so many seconds."""
        until = time.monotonic() + seconds
        self.ask("watch", seconds=seconds)
        while True:
            while self._notices:
                yield self._notices.popleft()
            left = until - time.monotonic()
            if left <= 0:
                return
            said = self._line(left)
            if said is not None and "notice" in said:
                yield said

    def ask(self, do: str, **fields: object) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            VralError: the host refused, or did not answer in time.

        """
        request_id = uuid.uuid4().hex
        line = json.dumps({"v": VERSION, "id": request_id, "do": do, **fields}).encode() + b"\n"
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            again = min(time.monotonic() + AGAIN_SECONDS, until)
            self._send(b"\n" + line, again)  # the first ends what somebody before us left half said
            while time.monotonic() < again:
                said = self._line(again - time.monotonic())
                if said is None:
                    continue
                if "notice" in said:
                    self._notices.append(said)
                elif said.get("id") == request_id:
                    if said.get("ok"):
                        return said
                    error = said.get("error") or {}
                    raise VralError(error.get("code", "failed"), error.get("say", "refused"), error)
        raise VralError("no_answer", f"the host did not answer within {self._seconds:g} s")

    def close(self) -> None:
        """Hang up; leases stay until they expire."""
        if self._socket is not None:
            self._socket.close()
        elif self._file >= 0:
            os.close(self._file)
        self._socket, self._file = None, -1

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()

    def _open(self) -> None:
        try:
            vsock = re.fullmatch(r"vsock:(\d+):(\d+)", self.channel)
            if vsock:
                opened = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
                self._socket = opened
                opened.connect((int(vsock[1]), int(vsock[2])))
            elif stat.S_ISSOCK(Path(self.channel).stat().st_mode):
                opened = socket.socket(socket.AF_UNIX)
                self._socket = opened
                opened.connect(self.channel)
            else:
                self._file = os.open(self.channel, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise VralError("no_channel", f"{self.channel} can't be opened: {error}") from error
        if self._socket is not None:
            self._socket.setblocking(False)  # noqa: FBT003
            self._file = self._socket.fileno()

    def _send(self, data: bytes, until: float) -> None:
        while data:
            _, ready, _ = select.select([], [self._file], [], max(until - time.monotonic(), 0))
            if not ready:
                return
            try:
                data = data[os.write(self._file, data) :]
            except BlockingIOError:
                time.sleep(NOBODY_SECONDS)
            except OSError as error:
                self._hung_up(error)

    def _line(self, seconds: float) -> dict[str, Any] | None:
        """Return the next line that is an object; None where none came in time."""
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._file], [], [], left)[0]:
                return None
            try:
                data = os.read(self._file, 4096)
            except BlockingIOError:
                continue
            except OSError as error:
                self._hung_up(error)
            if not data:
                if self._socket is not None:
                    self._hung_up(None)
                time.sleep(NOBODY_SECONDS)  # a port whose other end nobody holds
            self._rest += data
            if len(self._rest) > LINE_BYTES_MAX:
                self._rest = b""
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            said = json.loads(line)
        except ValueError:
            return None
        return said if isinstance(said, dict) else None

    def _hung_up(self, error: OSError | None) -> NoReturn:
        raise VralError("hung_up", f"{self.channel}: the host hung up") from error


def find_channel() -> str:
    """Return the channel that is there: what TIDEGATE_VRAL names, the VM's port, a container's socket.

    Raises:
        VralError: there is none.

    """
    named = os.environ.get("TIDEGATE_VRAL")
    if named:
        return named
    if Path(PORT_PATH).exists():
        return PORT_PATH
    for name in Path("/sys/class/virtio-ports").glob("*/name"):  # without udev nothing makes the link
        if name.read_text().strip() == PORT_NAME:
            return f"/dev/{name.parent.name}"
    if Path(SOCKET_PATH).exists():
        return SOCKET_PATH
    raise VralError("no_channel", f"there is neither {PORT_PATH} nor {SOCKET_PATH}; set TIDEGATE_VRAL")


def amount(text: str) -> float:
    """Return a number with or without K, M, G or T (powers of 1024) behind it."""
    unit = text[-1:].upper()
    return float(text[:-1]) * UNITS[unit] if unit in UNITS else float(text)


def timed(host: Vral, count: int, kind: str, wanted: float) -> dict[str, Any]:
    """Claim and release so often; return how long a claim took, in milliseconds."""
    took = []
    for _ in range(count):
        begin = time.monotonic()
        lease = host.claim(kind, wanted)
        took.append(1000 * (time.monotonic() - begin))
        host.release(lease["lease"])
    took.sort()
    p99 = took[int((count - 1) * 0.99)]
    return {"claims": count, "p50_ms": took[count // 2], "p99_ms": p99, "max_ms": took[-1]}


def parser() -> argparse.ArgumentParser:
    """Return what the command line can be."""
    top = argparse.ArgumentParser(prog="tidegate-vral", description="Claim resources from the host.")
    top.add_argument("--channel", help="port, socket or vsock:CID:PORT; found by itself without")
    top.add_argument("--seconds", type=float, default=ANSWER_SECONDS, help="how long to wait for an answer")
    does = top.add_subparsers(dest="do", required=True)
    does.add_parser("hello", help="what the host can do")
    claim = does.add_parser("claim", help="ask for a lease")
    claim.add_argument("kind", help="cpu, memory, gpu, network or storage")
    claim.add_argument("--class", dest="class_", type=int, help="SLA class, at most the VM's own")
    claim.add_argument("--deadline", dest="deadline_seconds", type=float, help="seconds until in force")
    claim.add_argument("--near", action="store_true", default=None, help="not behind a link")
    claim.add_argument("--may-be-slower", action="store_true", default=None, help="slower will do")
    renew = does.add_parser("renew", help="have a lease hold on")
    renew.add_argument("lease")
    for one, needed in ((claim, True), (renew, False)):
        if needed:
            one.add_argument("wanted", type=amount, help="cores, bytes (2G) or bytes a second")
        else:
            one.add_argument("--wanted", type=amount)
        one.add_argument("--min", type=amount, help="less is of no use")
        one.add_argument("--burst", type=amount, help="most it may grow to by itself")
        one.add_argument("--ttl", dest="ttl_seconds", type=float, help="seconds it holds")
    does.add_parser("release", help="give a lease back").add_argument("lease")
    does.add_parser("list", help="all leases")
    does.add_parser("watch", help="print notices").add_argument("watch", type=float, nargs="?", default=60.0)
    measured = does.add_parser("time", help="claim and release so often")
    measured.add_argument("count", type=int)
    measured.add_argument("kind")
    measured.add_argument("wanted", type=amount)
    return top


def said(host: Vral, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Do what the command line says, and yield what is to be printed."""
    fields = {
        name: value
        for name, value in vars(given).items()
        if name not in ("channel", "seconds", "do", "kind", "lease", "count", "watch")
    }
    if given.do == "claim":
        yield host.claim(given.kind, fields.pop("wanted"), **fields)
    elif given.do == "renew":
        yield host.renew(given.lease, **fields)
    elif given.do == "release":
        host.release(given.lease)
    elif given.do == "list":
        yield from host.list()
    elif given.do == "watch":
        yield from host.watch(given.watch)
    elif given.do == "time":
        yield timed(host, given.count, given.kind, given.wanted)
    else:
        yield host.hello()


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0 done, 1 refused, 2 wrong usage, 3 no channel or no answer."""
    given = parser().parse_args(arguments)
    try:
        with Vral(given.channel, seconds=given.seconds) as host:
            for one in said(host, given):
                sys.stdout.write(json.dumps(one) + "\n")
                sys.stdout.flush()
    except VralError as error:
        sys.stderr.write(json.dumps({"code": error.code, "say": str(error), **error.error}) + "\n")
        return 3 if error.code in ("no_channel", "no_answer", "hung_up") else 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
