"""Refusals as statuses of gRPC, with details as `google.rpc` has them, and back.

A refusal carries an `ErrorInfo` (why, field, limit), and a `BadRequest` where a field is known:
https://google.aip.dev/193.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import structlog
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from tidegate.model.errors import InputError, TidegateError
from tidegate.model.refusals import Because, InvalidField, Refusal, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUSES: Final = {
    Because.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Because.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Because.EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Because.NOT_NOW: grpc.StatusCode.FAILED_PRECONDITION,
    Because.NO_ROOM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Because.STALE: grpc.StatusCode.ABORTED,
    Because.UNREACHABLE: grpc.StatusCode.UNAVAILABLE,
    Because.TOO_LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Because.NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
    Because.UNKNOWN_PEER: grpc.StatusCode.UNAUTHENTICATED,
    Because.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Because.BROKEN: grpc.StatusCode.INTERNAL,
}
BECAUSE: Final = {code: because for because, code in STATUSES.items()}
DOMAIN: Final = "tidegate"
DETAILS_KEY: Final = "grpc-status-details-bin"
"""Where a status's details travel, by the convention of gRPC."""
MESSAGE_CHARACTERS_MAX: Final = 1024
"""Of a refusal's sentence; it travels in a header, which may have 8 KiB in all."""
NOT_OFFERED: Final = "this program does not offer that call; see that it is the right one"
UNEXPECTED: Final = "something failed that should not have; the program's log says what"


def status_of(error: Exception) -> status_pb2.Status:
    """Return the status that tells an error; nothing is told of what is neither a refusal nor for people."""
    if isinstance(error, Refusal):
        return _status(error.because, str(error), error.field, error.limit)
    if isinstance(error, InputError):
        return _status(Because.INVALID, str(error))
    if isinstance(error, TidegateError):
        return _status(Because.NOT_NOW, str(error))
    if isinstance(error, NotImplementedError):  # as generated services raise it for what nobody wrote
        return _status(Because.UNSUPPORTED, NOT_OFFERED)
    return _status(Because.BROKEN, UNEXPECTED)


def is_expected(error: Exception) -> bool:
    """Return whether an error is for whoever asked: others are logged where they are caught."""
    return isinstance(error, TidegateError | NotImplementedError)


@contextmanager
def answered(address: str) -> Iterator[None]:
    """Turn what a call failed with into a refusal that names the address that was asked.

    Raises:
        Refusal: the call failed; `RefusedInput`, which is an InputError, where other input would help.

    """
    try:
        yield
    except grpc.RpcError as error:
        raise refusal_of(error, address) from error


def refusal_of(error: grpc.RpcError, address: str) -> Refusal:
    """Return the refusal that a failed call stands for, naming the address that was asked."""
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    said = " ".join((error.details() or "").split())[:MESSAGE_CHARACTERS_MAX]
    because = BECAUSE.get(code, Because.BROKEN)
    info = _info(error)
    limit = info.metadata.get("limit")
    if info.reason == "" and because in _OF_TRANSPORT:
        meant = next((sentence for sign, sentence in _OF_TLS.items() if sign in said), _OF_TRANSPORT[because])
        sentence = meant.format(address=address, said=said)
    else:
        sentence = f"{address} refuses: {said or because.value}"
    return refusal(
        because, sentence, field=info.metadata.get("field", ""), limit=_number(limit) if limit else None
    )


_OF_TLS: Final = {
    "Hostname Verification": "somebody else answers at {address}: its certificate names another role or "
    "name than was expected; see that the address is right",
    "CERTIFICATE_VERIFY_FAILED": "the certificate shown at {address} is not believed: it has expired, or is "
    "of an authority that ca.pem does not hold; see 'tidegate certs show' on both sides",
}
"""Parts of what gRPC says where a handshake fails, and what they mean; anything else is quoted."""
_OF_TRANSPORT: Final = {
    Because.UNREACHABLE: "nobody answers at {address} ({said}); see that it runs, and that the "
    "certificates of both fit ('tidegate certs show')",
    Because.TOO_LATE: "{address} did not answer in time; see that it is not overloaded, or wait longer",
    Because.UNSUPPORTED: "{address} does not offer this ({said}); see that it is the right program",
    Because.NO_ROOM: "{address} takes in no more ({said}); ask for less at once, or later",
}
"""What gRPC itself says, where no program did: what it means, and what to do."""


def _status(because: Because, message: str, field: str = "", limit: float | None = None) -> status_pb2.Status:
    message = " ".join(message.split())[:MESSAGE_CHARACTERS_MAX]
    told = {"field": field} if field else {}
    if limit is not None:
        told["limit"] = f"{limit:.17g}"
    info = Packed()
    info.Pack(error_details_pb2.ErrorInfo(reason=because.name, domain=DOMAIN, metadata=told))
    details = [info]
    if field and because is Because.INVALID:
        bad = Packed()
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        bad.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        details.append(bad)
    code: int = STATUSES[because].value[0]
    return status_pb2.Status(code=code, message=message, details=details)


def _info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Return what a program said of why, empty where none did or it can't be read."""
    info = error_details_pb2.ErrorInfo()
    trailing: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else ()
    try:
        for key, value in trailing or ():
            if key == DETAILS_KEY:
                for detail in status_pb2.Status.FromString(value).details:
                    if detail.Unpack(info) and info.domain == DOMAIN:
                        return info
    except DecodeError:
        structlog.get_logger(__name__).warning("unreadable details of a status")
    return error_details_pb2.ErrorInfo()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


__all__ = ["InvalidField", "answered", "is_expected", "refusal_of", "status_of"]
