"""Probes one link: small questions spread in time, and now and then a train of long ones for its capacity."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tidegate.drivers.probes.budget import Budget, Spending
from tidegate.drivers.probes.packets import ANSWER, PROBE_BYTES, QUESTION, Packet, Token
from tidegate.drivers.probes.sockets import HEADER_BYTES, asking_socket, received
from tidegate.model.errors import InputError
from tidegate.model.links import PATIENCE_SECONDS, Probes, Train

if TYPE_CHECKING:
    import socket
    from types import TracebackType

PROBES_PER_SECOND: Final = 10.0
SPREAD_RATIO: Final = 0.5
"""Gaps between probes differ by so much from their mean: what repeats on the link every so often would else
be met always or never (RFC 3432, 4 on what plain periods miss)."""
TRAIN_EVERY_SECONDS: Final = 10.0
TRAIN_PACKETS: Final = 20
TRAIN_PACKETS_MIN: Final = 5
"""A shorter one measures the clock rather than the link."""
TRAIN_BYTES: Final = 1200
"""Of each packet of a train, without headers: fits any link that IPv6 may use."""
SETTLED_MAX: Final = 4096
"""Probes kept until they are taken; of more, the oldest are forgotten."""
TRAINS_KEPT_MAX: Final = 16
NANOSECONDS: Final = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class _Sent:
    """A train under way: when each packet left, and when it arrived at the other end, by number."""

    left: dict[int, int] = field(default_factory=dict)
    arrived: dict[int, int] = field(default_factory=dict)


class Prober:
    """One end of a link; the other is a `Responder`."""

    def __init__(
        self,
        address: str,
        *,
        seed: int,
        secret: bytes = b"",
        namespace: str | None = None,
        budget: Budget | None = None,
        probes_per_second: float = PROBES_PER_SECOND,
        train_every_seconds: float = TRAIN_EVERY_SECONDS,
    ) -> None:
        """Probe a responder at ``host:port``, once entered; an infinite ``train_every_seconds`` sends none.

        Raises:
            InputError: the secret is too short, or a pace is not positive.

        """
        if not (0 < probes_per_second < math.inf and train_every_seconds > 0):
            raise InputError("probes and trains need a pace above zero")
        self._address, self._namespace = address, namespace
        self._token = Token(secret)
        self._session = secrets.randbits(64)
        self._spending = Spending(budget or Budget())
        self._gap_seconds = 1.0 / probes_per_second
        self._train_every_seconds = train_every_seconds
        self._chance = random.Random(seed)  # noqa: S311 - spreads, hides nothing
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self._out: dict[int, int] = {}
        """Probes under way: when each left, by number; a budget's worth of `PATIENCE_SECONDS`."""
        self._train: _Sent | None = None
        self._settled: deque[tuple[int, float]] = deque(maxlen=SETTLED_MAX)
        self._trains: deque[Train] = deque(maxlen=TRAINS_KEPT_MAX)

    async def __aenter__(self) -> Self:
        """Start to probe.

        Raises:
            InputError: the address or the namespace is none.
            TidegateError: no way leads there.

        """
        self._socket = await asyncio.to_thread(asking_socket, self._address, self._namespace)
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    @property
    def local_host(self) -> str:
        """The address it sends from: tells the interface of the link."""
        return "" if self._socket is None else str(self._socket.getsockname()[0])

    def take(self) -> tuple[Probes, tuple[Train, ...]]:
        """Return what became known since the last call; times are those of `time.monotonic`."""
        self._catch_up()
        settled, trains = list(self._settled), tuple(self._trains)
        self._settled.clear()
        self._trains.clear()
        sent = np.array([left for left, _ in settled], dtype=np.float64) / NANOSECONDS
        return Probes(
            sent_seconds=sent,
            round_trip_seconds=np.array([back for _, back in settled], dtype=np.float64),
        ), trains

    async def _run(self) -> None:
        train_due = time.monotonic() + min(1.0, self._train_every_seconds)
        while True:
            spread = self._chance.uniform(1 - SPREAD_RATIO, 1 + SPREAD_RATIO)
            await asyncio.sleep(self._gap_seconds * spread)
            self._catch_up()
            if time.monotonic() >= train_due and self._train is None:
                train_due = time.monotonic() + self._train_every_seconds
                self._send_train()
            else:
                self._send_probe()

    def _send_probe(self) -> None:
        left = self._send(PROBE_BYTES)
        if left is not None:
            self._out[self._number - 1] = left

    def _send_train(self) -> None:
        """Send packets back to back, as many as the budget has left."""
        if self._socket is None:
            return
        length = TRAIN_BYTES + HEADER_BYTES[self._socket.family]
        packets = min(TRAIN_PACKETS, self._spending.packets_left(time.monotonic(), length))
        if packets < TRAIN_PACKETS_MIN:
            return
        self._train = _Sent()
        for _ in range(packets):
            left = self._send(TRAIN_BYTES)
            if left is not None:
                self._train.left[self._number - 1] = left

    def _send(self, length: int) -> int | None:
        """Send a question and return when it left; None where the budget is spent or this machine is busy."""
        if self._socket is None:
            return None
        whole = length + HEADER_BYTES[self._socket.family]
        if not self._spending.packets_left(time.monotonic(), whole):
            return None
        left = time.monotonic_ns()
        question = Packet(kind=QUESTION, session=self._session, number=self._number, asked_nanoseconds=left)
        data = self._token.packed(question, length)
        self._spending.spend(left / NANOSECONDS, whole)
        try:
            self._socket.send(data)
        except BlockingIOError:
            return None  # never left this machine: says nothing of the link
        except OSError:
            pass  # no way there, or nobody there: lost, as it would be on the way
        self._number += 1
        return left

    def _read(self) -> None:
        if self._socket is None:
            return
        for one in received(self._socket):
            answer = self._token.opened(one.data, ANSWER)
            if answer is None or answer.session != self._session:
                continue
            left = self._out.pop(answer.number, None)
            if left is not None:
                back = one.arrived_nanoseconds - left
                away = answer.answered_nanoseconds - answer.received_nanoseconds
                back -= away if 0 <= away <= back else 0
                self._settled.append((left, max(back, 0) / NANOSECONDS))
            elif self._train is not None and answer.number in self._train.left:
                self._train.arrived[answer.number] = answer.received_nanoseconds

    def _catch_up(self) -> None:
        """Read what has arrived, and only then call lost what has been away for too long."""
        self._read()
        until = time.monotonic_ns() - int(PATIENCE_SECONDS * NANOSECONDS)
        while self._out:
            number, left = next(iter(self._out.items()))
            if left > until:
                break
            del self._out[number]
            self._settled.append((left, math.nan))
        train = self._train
        if train is not None and (not train.left or max(train.left.values()) <= until):
            self._train = None
            if len(train.arrived) >= TRAIN_PACKETS_MIN:
                self._trains.append(self._measured(train))

    def _measured(self, train: _Sent) -> Train:
        headers = HEADER_BYTES[self._socket.family] if self._socket is not None else 0
        left = [train.left[number] for number in sorted(train.arrived)]
        return Train(
            packet_bytes=TRAIN_BYTES + headers,
            sent_seconds=np.array(left, dtype=np.float64) / NANOSECONDS,
            received_seconds=np.array(sorted(train.arrived.values()), dtype=np.float64) / NANOSECONDS,
        )
