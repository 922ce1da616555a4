"""Answers probes: one answer to a question, never longer, never to strangers where there is a secret."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from tidegate.drivers.probes.packets import ANSWER, QUESTION, Token
from tidegate.drivers.probes.sockets import answering_socket, received

if TYPE_CHECKING:
    import socket
    from types import TracebackType

    from tidegate.drivers.probes.sockets import Received

ANSWERS_PER_SECOND_MAX: Final = 10_000
"""To all together."""
ANSWERS_PER_SECOND_EACH_MAX: Final = 1_000
"""To one address: the largest budget of a prober."""
ASKERS_MAX: Final = 1_024
"""Addresses told apart within a second; further ones wait for the next."""


class Responder:
    """Answers whoever knows the secret; without one, anybody."""

    def __init__(self, address: str, *, secret: bytes = b"", namespace: str | None = None) -> None:
        """Answer at ``host:port``, once entered; port 0 is any that is free.

        Raises:
            InputError: the secret is too short.

        """
        self._wanted, self._namespace = address, namespace
        self._token = Token(secret)
        self._socket: socket.socket | None = None
        self._second = 0
        self._answered: dict[object, int] = {}
        """By address, in this second."""
        self._answered_all = 0
        self.ignored = 0
        """Packets not answered: strangers', broken, or too many."""

    @property
    def address(self) -> str:
        """Where it answers, with the port it found; empty before it does."""
        if self._socket is None:
            return ""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            InputError: the address or the namespace is none.
            TidegateError: the address is taken, or not this machine's.

        """
        self._socket = await asyncio.to_thread(answering_socket, self._wanted, self._namespace)
        asyncio.get_running_loop().add_reader(self._socket, self._read, self._socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, source: socket.socket) -> None:
        for one in received(source):
            question = self._token.opened(one.data, QUESTION)
            if question is None or not self._may_answer(one):
                self.ignored += 1
                continue
            answer = replace(
                question,
                kind=ANSWER,
                received_nanoseconds=one.arrived_nanoseconds,
                answered_nanoseconds=time.monotonic_ns(),
            )
            try:
                source.sendmsg([self._token.packed(answer)], one.answer_from, 0, one.address)
            except OSError:  # no way back, or no room: for who asks, it is lost
                self.ignored += 1

    def _may_answer(self, one: Received) -> bool:
        second = one.arrived_nanoseconds // 1_000_000_000
        if second != self._second:
            self._second, self._answered_all = second, 0
            self._answered.clear()
        known = self._answered.get(one.address, 0)
        is_full = one.address not in self._answered and len(self._answered) >= ASKERS_MAX
        if is_full or known >= ANSWERS_PER_SECOND_EACH_MAX or self._answered_all >= ANSWERS_PER_SECOND_MAX:
            return False
        self._answered[one.address] = known + 1
        self._answered_all += 1
        return True
