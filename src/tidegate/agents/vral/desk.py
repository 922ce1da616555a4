"""The desk: answers requests, looks after leases with each sample, and writes both down before it does them.

Requests come from the thread of channels, samples from the agent's own: one lock, held for one request or one
lease at a time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from tidegate.agents.vral.remarks import Remarks
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal
from tidegate.vral import lines
from tidegate.vral.books import Books
from tidegate.vral.claiming import Short, claimed, released, renewed
from tidegate.vral.claims import Change, Ended, Notice, Why
from tidegate.vral.lines import Garbled
from tidegate.vral.tending import GONE_SECONDS, tended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.agents.vral.journal import Journal
    from tidegate.agents.vral.suppliers import Supplier
    from tidegate.model.resources import Resource
    from tidegate.vral.claims import Lease
    from tidegate.vral.lines import Parsed
    from tidegate.vral.supplies import Market

OPERATOR: Final = ""
"""Who asks from the host itself, and may speak for any VM."""
REQUESTS_PER_SECOND: Final = 200.0
"""Of one VM; more wait."""
REQUESTS_BURST: Final = 400.0


class Desk:
    """All leases of one server."""

    def __init__(
        self,
        journal: Journal,
        *,
        suppliers: dict[str, Supplier],
        forwards_seconds: Callable[[], float],
        told: Callable[[Sequence[Notice]], None] = lambda _notices: None,
    ) -> None:
        """Go on from what the journal kept; ``suppliers`` by name; ``told`` hears notices, on any thread."""
        self._journal, self._suppliers, self._now = journal, suppliers, forwards_seconds
        self._told, self._remarks = told, Remarks(forwards_seconds)
        self._lock = threading.Lock()
        self._books = Books(journal.kept.leases, journal.kept.ended)
        self._market: Market | None = None
        self._seen_seconds: dict[str, float] = {}
        """When each VM with a lease was last there."""
        for lease in self._books:
            self._promise(lease)
            self._seen_seconds[lease.vm] = forwards_seconds()

    def tell(self, told: Callable[[Sequence[Notice]], None]) -> None:
        """Have somebody hear notices from now on."""
        self._told = told

    @property
    def leases(self) -> tuple[Lease, ...]:
        """All leases as they are now."""
        with self._lock:
            return tuple(self._books)

    def answer(self, vm: str, line: bytes) -> tuple[bytes, float]:
        """Return the answer to a line, and for how many seconds from now on its channel wants notices."""
        try:
            request = lines.parsed(line, names_vm=vm == OPERATOR)
        except Garbled as problem:
            return lines.garbled(problem), 0.0
        try:
            with self._lock:
                return self._answer(request.vm or vm, request), request.watch_seconds
        except Refusal as refusal:
            if isinstance(refusal, Short):
                self._remarks.say(
                    "claim failed", vm=request.vm or vm, looked=refusal.looked, said=str(refusal)
                )
            return lines.refused(request.id, refusal), 0.0
        except Exception as error:  # noqa: BLE001 - one request that fails is no other's matter
            self._remarks.say("a request failed that should not have", error=error, vm=request.vm or vm)
            failed = Garbled("failed", "the host failed at this; its log says how", request_id=request.id)
            return lines.garbled(failed), 0.0

    def look(self, market: Market) -> None:
        """Take a sample in: what is in force, what is short, what is over."""
        now = self._now()
        notices: list[Notice] = []
        with self._lock:
            self._market = market
            names = [lease.name for lease in self._books]
            vms = {lease.vm for lease in self._books}
        self._seen_seconds = {vm: now if vm in market.rows else self._seen_seconds.get(vm, now) for vm in vms}
        for name in names:
            with self._lock:
                notices += self._tend(name, market, now)
        if notices:
            self._told(notices)
        with self._lock:
            self._shorten()

    def _answer(self, vm: str, request: Parsed) -> bytes:
        now, name = self._now(), request.lease
        match request.do:
            case "claim":
                assert request.claim is not None, "a claim has what it claims"
                return self._leased(request, claimed(self._books, vm, request.claim, self._known, now), now)
            case "renew":
                assert request.asked is not None, "a renewal has what it asks for"
                return self._leased(
                    request, renewed(self._books, vm, name, request.asked, self._known, now), now
                )
            case "release":
                self._do(released(self._books, vm, name, request.id))
                return lines.answer(request.id, lease={"lease": name})
            case "list":
                return lines.answer(request.id, leases=self._listed(vm, now))
            case "watch":
                return lines.answer(request.id, seconds=request.watch_seconds)
            case _:
                return lines.answer(request.id, **self._greeting())

    @property
    def _known(self) -> Market:
        if self._market is None:
            raise Refusal(Because.NOT_NOW, "the host has just started; ask again in a second")
        return self._market

    def _leased(self, request: Parsed, change: Change, now: float) -> bytes:
        assert change.put is not None, "who claims or renews has a lease"
        if self._books.get(change.put.vm, change.put.name) is not change.put:
            self._do(change)
        return lines.answer(request.id, lease=lines.lease_fields(change.put, now))

    def _listed(self, vm: str, now: float) -> list[dict[str, object]]:
        if vm == OPERATOR:
            return [lines.operator_fields(lease, now) for lease in self._books]
        return [lines.lease_fields(lease, now) for lease in self._books.of(vm)]

    def _greeting(self) -> dict[str, object]:
        kinds = (
            [] if self._market is None else [one.label for one, some in self._market.supplies.items() if some]
        )
        limits = {
            "line_bytes": lines.LINE_BYTES_MAX,
            "requests_per_second": REQUESTS_PER_SECOND,
            "watch_seconds": lines.WATCH_SECONDS_MAX,
        }
        return {"versions": [lines.VERSION], "kinds": kinds, "limits": limits}

    def _do(self, change: Change) -> None:
        """Write a change down, then make it.

        Raises:
            Refusal: it can't be written; nothing is changed.

        """
        if change.put is None and change.ended is None:
            return
        before = change.put
        if change.ended is not None:
            before = self._books.get(change.ended.vm, change.ended.name)
        old = None if before is None else self._books.get(before.vm, before.name)
        self._journal.write(change)
        self._books.commit(change)
        for lease in (old, before):
            if lease is not None:
                self._promise(lease)

    def _promise(self, lease: Lease) -> None:
        """Tell suppliers what a lease's VM draws from them now."""
        resource: Resource = lease.claim.resource
        for part in lease.parts:
            supplier = self._suppliers.get(part.supply)
            if supplier is not None:
                amount = self._books.drawn(resource, part.supply).get(lease.vm, 0.0)
                supplier.promise(lease.vm, resource, amount)

    def _tend(self, name: str, market: Market, now: float) -> tuple[Notice, ...]:
        lease = self._books.named(name)
        if lease is None:
            return ()
        change = tended(self._books, lease, market, now)
        if now - self._seen_seconds.get(lease.vm, now) >= GONE_SECONDS:
            notice = Notice(why=Why.EXPIRED, lease=lease)
            change = Change(ended=Ended(name=lease.name, vm=lease.vm), notices=(notice,))
        if change is None:
            return ()
        try:
            self._do(change)
        except Refusal as refusal:
            self._remarks.say("a lease stays as it was", lease=name, vm=lease.vm, said=str(refusal))
            return ()
        return change.notices

    def _shorten(self) -> None:
        if self._journal.is_long:
            try:
                self._journal.rewrite(self._books, self._books.all_ended)
            except InputError as error:
                self._remarks.say("the journal of leases was not shortened", said=str(error))
