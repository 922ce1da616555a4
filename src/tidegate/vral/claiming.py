"""Claim, renew, release: each returns what is to be changed, and changes nothing itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.model.refusals import Because, Refusal
from tidegate.vral.claims import ROUNDING_RATIO, Change, Ended, Health, Lease
from tidegate.vral.supplies import cut, decided, merged

if TYPE_CHECKING:
    from tidegate.model.resources import Resource
    from tidegate.vral.books import Books
    from tidegate.vral.claims import Claim
    from tidegate.vral.supplies import Decision, Market

LEASES_MAX: Final = 16
"""Of one VM."""
LEASES_ALL_MAX: Final = 16_384
"""Of all: more than a thousand VMs with all of theirs."""


class Short(Refusal):
    """FAILURE: neither card nor host can cover a claim."""

    def __init__(self, resource: Resource, *, missing: float, found: float, looked: tuple[str, ...]) -> None:
        """Name the shortfall: what is missing of which resource; ``looked`` is for the host's own log."""
        super().__init__(
            Because.NO_ROOM,
            f"{missing:g} {resource.unit} of {resource.label} are missing; ask for less, or again later",
            field="min",
            limit=found,
        )
        self.resource, self.missing, self.found, self.looked = resource, missing, found, looked


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a renewal asks for; None leaves it as it was."""

    least: float | None = None
    wanted: float | None = None
    burst: float | None = None
    ttl_seconds: float | None = None


def claimed(books: Books, vm: str, claim: Claim, market: Market, now_seconds: float) -> Change:
    """Return the lease that serves a claim; of a claim that was served, the lease it has, and no change.

    Raises:
        Short: there is not enough anywhere; nothing is taken.
        Refusal: the request was another claim before, it has too many leases, or it can't be leased here.

    """
    leases = books.of(vm)
    before = next((one for one in leases if one.first.request_id == claim.request_id), None)
    if before is not None:
        if before.first != claim:
            raise Refusal(
                Because.EXISTS,
                f"request {claim.request_id} was another claim; draw an id for each",
                field="id",
            )
        return Change(put=before)
    if len(leases) >= LEASES_MAX or len(books) >= LEASES_ALL_MAX:
        most = LEASES_MAX if len(leases) >= LEASES_MAX else LEASES_ALL_MAX
        raise Refusal(Because.NOT_ALLOWED, f"there are {most} leases already; release one first", limit=most)
    row = market.rows.get(vm)
    if row is None:
        raise Refusal(Because.NOT_NOW, "this machine was not seen running yet; ask again in a second")
    if not market.supplies.get(claim.resource):
        raise Refusal(
            Because.UNSUPPORTED,
            f"{claim.resource.label} can't be leased here; claim something else",
            field="kind",
        )
    wanted = foreseen(books, vm, claim, market)
    decision = decided(wanted, books.offers(vm, claim, market))
    _require(claim, decision)
    own = max(int(market.priorities[row]), 1)
    lease = Lease(
        name=books.next_name(),
        vm=vm,
        workload_id=int(market.ids[row]),
        claim=claim,
        first=claim,
        priority=min(claim.priority or own, own),
        parts=decision.parts,
        health=_health(decision),
        asserted_seconds=now_seconds,
        due_seconds=now_seconds + claim.deadline_seconds,
        expires_seconds=now_seconds + claim.ttl_seconds,
    )
    return Change(put=lease)


def renewed(books: Books, vm: str, name: str, asked: Asked, market: Market, now_seconds: float) -> Change:  # noqa: PLR0917
    """Return a lease that holds on, with what is asked for now: more is taken, or less given back at once.

    Raises:
        Short: there is not enough anywhere; the lease stays as it was.
        Refusal: there is no such lease, or its VM is not seen.

    """
    lease = _found(books, vm, name)
    claim = _renewed_claim(lease.claim, asked)
    expires = now_seconds + claim.ttl_seconds
    kept = replace(lease, claim=claim, asserted_seconds=now_seconds, expires_seconds=expires)
    kept = replace(kept, shrinks_seconds=math.inf, shrinks_to=0.0)
    says_amounts = (asked.least, asked.wanted, asked.burst) != (None, None, None)
    if not says_amounts and lease.short <= ROUNDING_RATIO * claim.wanted:
        return Change(put=kept)
    if vm not in market.rows:
        raise Refusal(Because.NOT_NOW, "this machine is not seen running; ask again in a second")
    if claim.wanted < lease.amount and says_amounts:
        order = [one.name for one in market.supplies.get(claim.resource, ())]
        return Change(put=replace(kept, parts=cut(lease.parts, claim.wanted, order)))
    decision = decided(claim.wanted - lease.amount, books.offers(vm, claim, market))
    parts = merged(lease.parts, decision.parts)
    found = math.fsum(part.amount for part in parts)
    if found < claim.least * (1 - ROUNDING_RATIO):
        raise Short(claim.resource, missing=claim.least - found, found=found, looked=decision.looked)
    moved = decision.found > decision.ready * (1 + ROUNDING_RATIO)
    if moved:
        kept = kept.applied_from(now_seconds)
    return Change(put=replace(kept, parts=parts))


def released(books: Books, vm: str, name: str, request_id: str) -> Change:
    """Return the end of a lease; one that ended is over, whoever says so again.

    Raises:
        Refusal: there never was such a lease, as far as is remembered.

    """
    if books.get(vm, name) is None:
        if any(one.name == name for one in books.ended(vm)):
            return Change()
        _found(books, vm, name)
    return Change(ended=Ended(name=name, vm=vm, request_id=request_id))


def foreseen(books: Books, vm: str, claim: Claim, market: Market) -> float:
    """Return what a claim comes to once the forecast is asked: what is wanted, at most the burst.

    The guest knows what it is about to do; the forecast knows what it will do beside.
    """
    predicted = float(market.predicted[claim.resource][market.rows[vm]])
    if math.isnan(predicted):
        return claim.wanted
    unpromised = predicted - books.leased(vm, claim.resource)
    return min(max(claim.wanted, unpromised), claim.burst)


def _require(claim: Claim, decision: Decision) -> None:
    if decision.found < claim.least * (1 - ROUNDING_RATIO) or not decision.parts:
        raise Short(
            claim.resource,
            missing=(claim.least or claim.wanted) - decision.found,
            found=decision.found,
            looked=decision.looked,
        )


def _health(decision: Decision) -> Health:
    """Say healthy at once only of what was read back already."""
    is_ready = decision.found <= decision.ready * (1 + ROUNDING_RATIO)
    return Health.HEALTHY if is_ready else Health.APPLYING


def _found(books: Books, vm: str, name: str) -> Lease:
    lease = books.get(vm, name)
    if lease is None:
        raise Refusal(
            Because.NOT_FOUND, f"there is no lease '{name}'; list says which there are", field="lease"
        )
    return lease


def _renewed_claim(claim: Claim, asked: Asked) -> Claim:
    wanted = claim.wanted if asked.wanted is None else asked.wanted
    least = min(claim.least, wanted) if asked.least is None else asked.least
    burst = max(claim.burst, wanted) if asked.burst is None else asked.burst
    if not least <= wanted <= burst:
        raise Refusal(
            Because.INVALID,
            f"min {least:g}, wanted {wanted:g} and burst {burst:g} must not fall; mend one of them",
            field="wanted",
        )
    ttl = claim.ttl_seconds if asked.ttl_seconds is None else asked.ttl_seconds
    return replace(claim, least=least, wanted=wanted, burst=burst, ttl_seconds=ttl)


__all__ = ["LEASES_MAX", "Asked", "Short", "claimed", "foreseen", "released", "renewed"]
