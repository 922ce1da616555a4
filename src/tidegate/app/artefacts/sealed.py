"""JSON that notices when it was altered: a checksum before the body, over the body's very bytes.

For what changes during a model's life, its stage and its record; against accidents and careless edits, as a
checksum is. Who wants to deceive can compute one too: that takes a signature.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeVar

import msgspec

Body = TypeVar("Body", bound=msgspec.Struct)

_HEAD: Final = b'{"sha256": "'
_BETWEEN: Final = b'", "body": '
_TAIL: Final = b"}\n"
_BODY_AT: Final = len(_HEAD) + 64 + len(_BETWEEN)


def sealed(body: msgspec.Struct) -> bytes:
    """Return the file of a body, the same for the same body."""
    return _around(msgspec.json.format(msgspec.json.encode(body), indent=2))


def unsealed(data: bytes, kind: type[Body]) -> Body:
    """Return the body of a file.

    Raises:
        ValueError: one byte of it is another than it was, or it is of another kind.

    """
    body = data[_BODY_AT : -len(_TAIL)]
    if _around(body) != data:
        raise ValueError("it was altered or cut short: its checksum is another")
    return msgspec.json.decode(body, type=kind)  # a DecodeError is a ValueError


def _around(body: bytes) -> bytes:
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + _BETWEEN + body + _TAIL


__all__ = ["sealed", "unsealed"]
