"""What probes look like on the wire: one layout for questions and answers, with a token.

    0  magic, kind           "tgp1" and 1 for a question, 2 for an answer
    8  session               drawn by whoever asks at its start, given back
    16 number                counts up from 0
    24 asked_nanoseconds     clock of who asks, given back
    32 received_nanoseconds  clock of who answers, 0 in a question
    40 answered_nanoseconds  the same
    48 token                 HMAC-SHA256 of all before it, its first 16 bytes; zeros without a secret
    64 filling               of a question in a train; an answer has none

So no answer is longer than its question, and whoever does not know the secret can neither ask nor answer.
Half a digest is as much as RFC 2104, 5 wants left of one. Whoever hears a question can send it again, and
gets one more answer to the same place: nothing that a copy of the question would not cost as well.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final

from tidegate.model.errors import InputError

MAGIC: Final = b"tgp1"
QUESTION: Final = 1
ANSWER: Final = 2
HEAD: Final = struct.Struct("!4sB3xQQQQQ")
TOKEN_BYTES: Final = 16
PROBE_BYTES: Final = HEAD.size + TOKEN_BYTES
"""Length of a plain question and of every answer: 64."""
QUESTION_BYTES_MAX: Final = 1472
"""A longer one would not fit an Ethernet frame."""
SECRET_BYTES_MIN: Final = 16
"""A shorter one could be guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A question or an answer."""

    kind: int
    session: int
    number: int
    asked_nanoseconds: int
    received_nanoseconds: int = 0
    answered_nanoseconds: int = 0


class Token:
    """Signs what is sent and knows what is not ours."""

    def __init__(self, secret: bytes) -> None:
        """Sign with a secret that both ends know; with none, nobody is known from strangers.

        Raises:
            InputError: the secret is too short.

        """
        if 0 < len(secret) < SECRET_BYTES_MIN:
            raise InputError(
                f"the secret of probes has {len(secret)} bytes; use {SECRET_BYTES_MIN} or more, or none"
            )
        self._secret = secret

    def packed(self, packet: Packet, length: int = PROBE_BYTES) -> bytes:
        """Return a packet as bytes, filled up to a length."""
        head = HEAD.pack(
            MAGIC,
            packet.kind,
            packet.session,
            packet.number,
            packet.asked_nanoseconds,
            packet.received_nanoseconds,
            packet.answered_nanoseconds,
        )
        return (head + self._sign(head)).ljust(length, b"\0")

    def opened(self, data: bytes, kind: int) -> Packet | None:
        """Return a packet of that kind; None for a stranger's, and for what is none at all."""
        if not PROBE_BYTES <= len(data) <= QUESTION_BYTES_MAX:
            return None
        head, signed = data[: HEAD.size], data[HEAD.size : PROBE_BYTES]
        magic, found, session, number, asked, received, answered = HEAD.unpack(head)
        if magic != MAGIC or found != kind or not hmac.compare_digest(signed, self._sign(head)):
            return None
        return Packet(
            kind=kind,
            session=session,
            number=number,
            asked_nanoseconds=asked,
            received_nanoseconds=received,
            answered_nanoseconds=answered,
        )

    def _sign(self, head: bytes) -> bytes:
        if not self._secret:
            return bytes(TOKEN_BYTES)
        return hmac.digest(self._secret, head, "sha256")[:TOKEN_BYTES]
