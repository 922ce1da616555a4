"""What becomes of a lease as time passes: in force or not, more, less, elsewhere, over.

One lease at a time: each returns what is to be changed, and changes nothing itself.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tidegate.vral.claims import NEVER, ROUNDING_RATIO, Change, Ended, Health, Notice, Why
from tidegate.vral.supplies import TOLERANCE_RATIO, cut, decided, merged

if TYPE_CHECKING:
    from tidegate.vral.books import Books
    from tidegate.vral.claims import Lease, Part
    from tidegate.vral.supplies import Market

NOTICE_SECONDS: Final = 10.0
"""How long before it shrinks a lease's guest is told."""
GIVE_BACK_AFTER_SECONDS: Final = 60.0
"""How long what a guest said stands before a lower forecast may speak against it."""
GIVE_BACK_RATIO_MIN: Final = 0.05
"""A smaller surplus is not worth a change."""
PRESSURE_AGAIN_SECONDS: Final = 30.0
"""How often at most a lease's guest is told of pressure."""
GONE_SECONDS: Final = 60.0
"""How long a VM may not be seen before its leases end: an agent that starts has seen nobody yet."""


def tended(books: Books, lease: Lease, market: Market, now_seconds: float) -> Change | None:
    """Return what is to be changed about a lease now; None where nothing is."""
    if now_seconds >= lease.expires_seconds:
        return _ended(lease, Why.EXPIRED)
    if lease.vm not in market.rows:
        return None
    if int(market.ids[market.rows[lease.vm]]) != lease.workload_id:
        return _ended(lease, Why.EXPIRED)  # another VM of that name
    lost = {part: lost for part in lease.parts if (lost := _to_give_way(books, lease, part, market)) > 0}
    if lost:
        change = _given_way(books, lease, lost, market, now_seconds)
        # While notice runs, a lease that is not in force does not say so.
        return change or _in_force(books, lease, market, now_seconds)
    for step in (_in_force, _less, _more):
        change = step(books, lease, market, now_seconds)
        if change is not None:
            return change
    return None


def _ended(lease: Lease, why: Why) -> Change:
    return Change(ended=Ended(name=lease.name, vm=lease.vm), notices=(Notice(why=why, lease=lease),))


def _in_force(books: Books, lease: Lease, market: Market, now_seconds: float) -> Change | None:
    """Hold what a lease says against what was read back."""
    if _is_in_force(books, lease, market):
        if lease.health is Health.HEALTHY:
            return None
        healthy = replace(lease, health=Health.HEALTHY)
        return Change(put=healthy, notices=(Notice(why=Why.HEALTHY, lease=healthy),))
    if lease.health is Health.APPLYING:
        return _late(books, lease, market) if now_seconds >= lease.due_seconds else None
    if lease.health is Health.DEGRADED:
        return None
    degraded = replace(lease, health=Health.DEGRADED)
    return Change(put=degraded, notices=(Notice(why=Why.DEGRADED, lease=degraded),))


def _late(books: Books, lease: Lease, market: Market) -> Change:
    """Keep what came about of a lease in time where that is of use; else it has failed."""
    parts = tuple(
        replace(part, amount=amount)
        for part in lease.parts
        if (amount := _came_about(books, lease, part, market)) > 0
    )
    left = math.fsum(part.amount for part in parts)
    if left <= 0 or left < lease.claim.least * (1 - TOLERANCE_RATIO):
        return _ended(lease, Why.FAILED)
    less = replace(lease, parts=parts, health=Health.HEALTHY)
    return Change(put=less, notices=(Notice(why=Why.SHRUNK, lease=less, amount=left),))


def _came_about(books: Books, lease: Lease, part: Part, market: Market) -> float:
    """Return what of a part is in force, the VM's other leases served first."""
    supply = market.supply(lease.claim.resource, part.supply)
    if supply is None:
        return 0.0
    held = float(supply.held[market.rows[lease.vm]])
    others = books.drawn(lease.claim.resource, part.supply).get(lease.vm, 0.0) - part.amount
    return 0.0 if math.isnan(held) else min(max(held - others, 0.0), part.amount)


def _is_in_force(books: Books, lease: Lease, market: Market) -> bool:
    row, resource = market.rows[lease.vm], lease.claim.resource
    for part in lease.parts:
        supply = market.supply(resource, part.supply)
        if supply is None:
            return False
        promised = books.drawn(resource, part.supply).get(lease.vm, 0.0)
        if not float(supply.held[row]) >= promised * (1 - TOLERANCE_RATIO):  # NaN is not in force
            return False
    return True


def _given_way(
    books: Books, lease: Lease, lost: dict[Part, float], market: Market, now_seconds: float
) -> Change | None:
    """Move what supplies no longer have to others; what nobody has, the lease loses after notice."""
    stays = tuple(replace(part, amount=part.amount - lost.get(part, 0.0)) for part in lease.parts)
    stays = tuple(part for part in stays if part.amount > ROUNDING_RATIO * lease.amount)
    left = tuple(part.supply for part in lost)
    decision = decided(math.fsum(lost.values()), books.offers(lease.vm, lease.claim, market, without=left))
    parts = merged(stays, decision.parts)
    if decision.missing <= 0:
        # Where it lives is not told: the guest sees that it is being applied, and no more.
        return Change(put=replace(lease, parts=parts).applied_from(now_seconds))
    return _shrunk_with_notice(lease, parts, now_seconds)


def _shrunk_with_notice(lease: Lease, parts: tuple[Part, ...], now_seconds: float) -> Change | None:
    """Tell the guest first; when the time has come, take it."""
    left = math.fsum(part.amount for part in parts)
    if now_seconds < lease.shrinks_seconds < NEVER:
        return None
    if lease.shrinks_seconds == NEVER:
        at = now_seconds + NOTICE_SECONDS
        told = replace(lease, shrinks_to=left, shrinks_seconds=at)
        return Change(
            put=told,
            notices=(Notice(why=Why.SHRINKING, lease=told, in_seconds=NOTICE_SECONDS, amount=left),),
        )
    if left < lease.claim.least * (1 - ROUNDING_RATIO) or not parts:
        return _ended(lease, Why.FAILED)
    less = replace(lease, parts=parts, shrinks_to=0.0, shrinks_seconds=NEVER)
    return Change(put=less, notices=(Notice(why=Why.SHRUNK, lease=less, amount=left),))


def _to_give_way(books: Books, lease: Lease, part: Part, market: Market) -> float:
    """Return what this lease must give of one part: the lowest class first, of one class the newest."""
    resource, row = lease.claim.resource, market.rows[lease.vm]
    supply = market.supply(resource, part.supply)
    if supply is None:
        return part.amount
    drawn = books.drawn(resource, part.supply)
    own = max(drawn.get(lease.vm, 0.0) - float(supply.most[row]), 0.0)
    all_ = max(math.fsum(drawn.values()) - supply.amount, 0.0)
    mine = _after_those_before(lease, part, own, books.of(lease.vm))
    everyone = _after_those_before(lease, part, all_, tuple(books))
    gives = min(max(mine, everyone), part.amount)
    return gives if gives > TOLERANCE_RATIO * part.amount else 0.0


def _after_those_before(lease: Lease, part: Part, excess: float, leases: tuple[Lease, ...]) -> float:
    """Return what of an excess is left to this lease once those that give way before it have."""
    if excess <= 0:
        return 0.0
    mine = _gives_way(lease)
    before = math.fsum(
        one.drawn(part.supply)
        for one in leases
        if one.claim.resource is lease.claim.resource and _gives_way(one) < mine
    )
    return max(excess - before, 0.0)


def _gives_way(lease: Lease) -> tuple[float, float, str]:
    return lease.priority, -lease.asserted_seconds, lease.name


def _less(books: Books, lease: Lease, market: Market, now_seconds: float) -> Change | None:
    """Give back what the forecast has long said is not needed, down to the least, after notice."""
    predicted = float(market.predicted[lease.claim.resource][market.rows[lease.vm]])
    amount = lease.amount
    surplus = books.leased(lease.vm, lease.claim.resource) - predicted
    target = max(lease.claim.least, amount - surplus) if surplus > 0 else amount  # NaN: no surplus
    is_little = amount - target < GIVE_BACK_RATIO_MIN * amount
    is_said = now_seconds - lease.asserted_seconds < GIVE_BACK_AFTER_SECONDS
    if is_little or is_said:
        if lease.shrinks_seconds == NEVER:
            return None
        return Change(put=replace(lease, shrinks_to=0.0, shrinks_seconds=NEVER))
    order = [one.name for one in market.supplies.get(lease.claim.resource, ())]
    return _shrunk_with_notice(lease, cut(lease.parts, target, order), now_seconds)


def _more(books: Books, lease: Lease, market: Market, now_seconds: float) -> Change | None:
    """Take what was wanted or is forecast and was not to be had; tell where there still is none."""
    if lease.shrinks_seconds < NEVER:
        return None
    # What the forecast spoke against stays given back until the guest says so again, or the forecast does.
    is_said = now_seconds - lease.asserted_seconds < GIVE_BACK_AFTER_SECONDS
    others = books.leased(lease.vm, lease.claim.resource) - lease.amount
    predicted = float(market.predicted[lease.claim.resource][market.rows[lease.vm]]) - others
    wanted = max(lease.claim.wanted if is_said else 0.0, 0.0 if math.isnan(predicted) else predicted)
    missing = min(wanted, lease.claim.burst) - lease.amount
    if missing <= GIVE_BACK_RATIO_MIN * lease.amount:
        return None
    decision = decided(missing, books.offers(lease.vm, lease.claim, market))
    if decision.found > GIVE_BACK_RATIO_MIN * lease.amount:
        parts = merged(lease.parts, decision.parts)
        moved = decision.found > decision.ready * (1 + ROUNDING_RATIO)
        grown = replace(lease, parts=parts)
        if moved:
            grown = grown.applied_from(now_seconds)
        return Change(put=grown, notices=(Notice(why=Why.GROWN, lease=grown, amount=grown.amount),))
    if now_seconds - lease.pressed_seconds < PRESSURE_AGAIN_SECONDS:
        return None
    told = replace(lease, pressed_seconds=now_seconds)
    notice = Notice(why=Why.PRESSURE, lease=told, in_seconds=market.lead_seconds, amount=decision.missing)
    return Change(put=told, notices=(notice,))
