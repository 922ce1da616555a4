"""The guest's protocol: one JSON object a line, UTF-8. Parses what comes in, and writes answers.

docs/reference/vral-protocol.md is its description. Nothing of where a resource lives is in it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tidegate.model.refusals import Because, Refusal
from tidegate.model.resources import Resource
from tidegate.vral import claims
from tidegate.vral.claiming import Asked, Short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.vral.claims import Claim, Lease, Notice

VERSION: Final = 1
LINE_BYTES_MAX: Final = 4096
"""Longest line, its end included."""
ID_BYTES_MAX: Final = 64
NAME_BYTES_MAX: Final = 64
WATCH_SECONDS_MAX: Final = 300.0
"""How long notices are sent before a guest must ask again: a port's end does not tell that nobody reads."""
SAID_CHARS_MAX: Final = 300
"""Longest sentence of an error: it quotes what was sent."""
KINDS: Final = {resource.label: resource for resource in Resource}
CODES: Final = {
    Because.INVALID: "invalid",
    Because.NOT_FOUND: "not_found",
    Because.EXISTS: "conflict",
    Because.NO_ROOM: "short",
    Because.NOT_ALLOWED: "quota",
    Because.NOT_NOW: "not_now",
    Because.UNSUPPORTED: "unsupported",
}


class Garbled(Exception):  # noqa: N818 - an answer, as a refusal is
    """A line that is no request; says which request it was as far as that could be read."""

    def __init__(self, code: str, say: str, *, request_id: str | None = None, field: str = "") -> None:
        """Name what is wrong with it."""
        super().__init__(say)
        self.code, self.request_id, self.field = code, request_id, field


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    v: int
    id: str
    vm: str = ""


class Hello(_Request, frozen=True, kw_only=True, tag="hello"):
    """Asks who is there."""


class ClaimLine(_Request, frozen=True, kw_only=True, tag="claim"):
    """Asks for a lease."""

    kind: str
    wanted: float
    min: float | None = None
    burst: float | None = None
    sla_class: int = msgspec.field(default=0, name="class")
    deadline_seconds: float = claims.DEADLINE_SECONDS
    ttl_seconds: float = claims.TTL_SECONDS
    near: bool = False
    may_be_slower: bool = False


class RenewLine(_Request, frozen=True, kw_only=True, tag="renew"):
    """Asks that a lease holds on."""

    lease: str
    wanted: float | None = None
    min: float | None = None
    burst: float | None = None
    ttl_seconds: float | None = None


class ReleaseLine(_Request, frozen=True, kw_only=True, tag="release"):
    """Gives a lease back."""

    lease: str


class ListLine(_Request, frozen=True, kw_only=True, tag="list"):
    """Asks for all leases."""


class WatchLine(_Request, frozen=True, kw_only=True, tag="watch"):
    """Asks for notices for a while."""

    seconds: float = 60.0


Request = Hello | ClaimLine | RenewLine | ReleaseLine | ListLine | WatchLine
DOES: Final = ("hello", "claim", "renew", "release", "list", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A request whose fields are what they can be."""

    id: str
    vm: str
    do: str
    claim: Claim | None = None
    lease: str = ""
    asked: Asked | None = None
    watch_seconds: float = 0.0


def parsed(line: bytes, *, names_vm: bool = False) -> Parsed:
    """Return the request in a line; ``names_vm`` is for the host's own operator, who says whose it is.

    Raises:
        Garbled: it is none; says exactly why.

    """
    if len(line) > LINE_BYTES_MAX:
        raise Garbled("too_long", f"a line has at most {LINE_BYTES_MAX} bytes")
    said = _object(line)
    request_id = said.get("id")
    if not isinstance(request_id, str) or not 0 < len(request_id.encode("utf-8", "replace")) <= ID_BYTES_MAX:
        raise Garbled("invalid", f"id must be a text of 1 to {ID_BYTES_MAX} bytes", field="id")
    try:
        return _checked(_request(said), names_vm=names_vm)
    except Garbled as garbled:
        garbled.request_id = request_id
        raise


def _object(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Garbled("not_utf8", f"byte {error.start} is not UTF-8") from error
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Garbled("not_json", f"this is no JSON: {error}"[:SAID_CHARS_MAX]) from error
    if not isinstance(said, dict):
        raise Garbled("not_object", "a request is a JSON object")
    return said


def _request(said: dict[str, Any]) -> Request:
    version = said.get("v")
    if version != VERSION or isinstance(version, bool):
        raise Garbled("version", f'this host speaks version {VERSION} ("v": {VERSION})', field="v")
    do = said.get("do")
    if do not in DOES:
        raise Garbled("unknown_request", f"do must be one of {', '.join(DOES)}", field="do")
    try:
        return msgspec.convert(said, Request)
    except (msgspec.ValidationError, RecursionError) as error:
        text = str(error)
        at = re.search(r" - at `\$\.?([^`]*)`$", text)
        what = text[: at.start()] if at else text
        unknown = re.search(r"unknown field `([^`]*)`", text) or re.search(r"required field `([^`]*)`", text)
        field = at[1] if at and at[1] else (unknown[1] if unknown else "")
        sentence = f"{field}: {what}" if at and at[1] else what
        raise Garbled("invalid", sentence[:SAID_CHARS_MAX], field=field[:NAME_BYTES_MAX]) from error


def _checked(request: Request, *, names_vm: bool) -> Parsed:
    needs_vm = names_vm and isinstance(request, ClaimLine | RenewLine | ReleaseLine)
    if bool(request.vm) != needs_vm:
        word = "must" if needs_vm else "may not"
        raise Garbled("invalid", f"vm {word} be named here", field="vm")
    do = str(request.__struct_config__.tag)
    match request:
        case ClaimLine():
            return Parsed(id=request.id, vm=request.vm, do=do, claim=_claim(request))
        case RenewLine():
            for name in ("wanted", "min", "burst"):
                _amount(name, getattr(request, name))
            _seconds("ttl_seconds", request.ttl_seconds, claims.TTL_SECONDS_MAX)
            asked = Asked(
                least=request.min,
                wanted=request.wanted,
                burst=request.burst,
                ttl_seconds=request.ttl_seconds,
            )
            return Parsed(id=request.id, vm=request.vm, do=do, lease=_name(request.lease), asked=asked)
        case ReleaseLine():
            return Parsed(id=request.id, vm=request.vm, do=do, lease=_name(request.lease))
        case WatchLine():
            _seconds("seconds", request.seconds, WATCH_SECONDS_MAX)
            return Parsed(id=request.id, vm=request.vm, do=do, watch_seconds=request.seconds)
        case _:
            return Parsed(id=request.id, vm=request.vm, do=do)


def _claim(request: ClaimLine) -> Claim:
    if request.kind not in KINDS:
        raise Garbled("invalid", f"kind must be one of {', '.join(KINDS)}", field="kind")
    least = request.wanted if request.min is None else request.min
    burst = request.wanted if request.burst is None else request.burst
    for name, amount in (("wanted", request.wanted), ("min", least), ("burst", burst)):
        _amount(name, amount)
    if request.wanted <= 0:
        raise Garbled("invalid", "wanted must be above 0", field="wanted")
    if not least <= request.wanted <= burst:
        raise Garbled("invalid", "min, wanted and burst must not fall", field="wanted")
    if not 0 <= request.sla_class <= claims.PRIORITY_MAX:
        raise Garbled("invalid", f"class must be 0 to {claims.PRIORITY_MAX}", field="class")
    _seconds("deadline_seconds", request.deadline_seconds, claims.DEADLINE_SECONDS_MAX)
    _seconds("ttl_seconds", request.ttl_seconds, claims.TTL_SECONDS_MAX)
    return claims.Claim(
        request_id=request.id,
        resource=KINDS[request.kind],
        least=least,
        wanted=request.wanted,
        burst=burst,
        priority=request.sla_class,
        deadline_seconds=request.deadline_seconds,
        ttl_seconds=request.ttl_seconds,
        near=request.near,
        may_be_slower=request.may_be_slower,
    )


def _amount(name: str, amount: float | None) -> None:
    if amount is not None and not 0 <= amount <= claims.AMOUNT_MAX:
        raise Garbled("invalid", f"{name} must be 0 to {claims.AMOUNT_MAX:g}", field=name)


def _seconds(name: str, seconds: float | None, most: float) -> None:
    if seconds is not None and not 0 < seconds <= most:
        raise Garbled("invalid", f"{name} must be above 0 and at most {most:g}", field=name)


def _name(name: str) -> str:
    if not 0 < len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
        raise Garbled("invalid", f"lease must be a text of 1 to {NAME_BYTES_MAX} bytes", field="lease")
    return name


# --- Answers -------------------------------------------------------------------------------------


def answer(request_id: str, **content: object) -> bytes:
    """Return the line that answers a request with what was asked for."""
    return _line({"v": VERSION, "id": request_id, "ok": True, **content})


def refused(request_id: str, refusal: Refusal) -> bytes:
    """Return the line that answers a request which is not done."""
    error: dict[str, object] = {"code": CODES.get(refusal.because, "failed"), "say": str(refusal)}
    if refusal.field:
        error["field"] = refusal.field
    if isinstance(refusal, Short):
        error |= {"kind": refusal.resource.label, "missing": refusal.missing, "found": refusal.found}
    return _line({"v": VERSION, "id": request_id, "ok": False, "error": error})


def garbled(problem: Garbled) -> bytes:
    """Return the line that answers what is no request."""
    error = {"code": problem.code, "say": str(problem)}
    if problem.field:
        error["field"] = problem.field
    return _line({"v": VERSION, "id": problem.request_id, "ok": False, "error": error})


def notice_line(notice: Notice, now_seconds: float) -> bytes:
    """Return the line that tells a guest of its lease."""
    return _line(
        {
            "v": VERSION,
            "notice": notice.why.value,
            "in_seconds": notice.in_seconds,
            "amount": notice.amount,
            "lease": lease_fields(notice.lease, now_seconds),
        }
    )


def lease_fields(lease: Lease, now_seconds: float) -> dict[str, object]:
    """Return what a guest sees of a lease: never where it lives."""
    fields: dict[str, object] = {
        "lease": lease.name,
        "kind": lease.claim.resource.label,
        "amount": lease.amount,
        "min": lease.claim.least,
        "wanted": lease.claim.wanted,
        "burst": lease.claim.burst,
        "short": lease.short,
        "class": lease.priority,
        "health": lease.health.value,
        "expires_in_seconds": max(lease.expires_seconds - now_seconds, 0.0),
    }
    if math.isfinite(lease.shrinks_seconds):
        fields["shrinks_to"] = lease.shrinks_to
        fields["shrinks_in_seconds"] = max(lease.shrinks_seconds - now_seconds, 0.0)
    return fields


def operator_fields(lease: Lease, now_seconds: float) -> dict[str, object]:
    """Return what the host's operator sees of it: whose it is, and where it lives."""
    served: Mapping[str, float] = {part.supply: part.amount for part in lease.parts}
    return {"vm": lease.vm, **lease_fields(lease, now_seconds), "served": served}


def _line(content: dict[str, object]) -> bytes:
    return msgspec.json.encode(content) + b"\n"
