"""Whatever is claimed, renewed, released, lost and passes: what is leased is there."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tidegate.agents.vral.journal import Journal
from tidegate.model.refusals import Refusal
from tidegate.model.resources import Resource
from tidegate.vral.books import Books
from tidegate.vral.claiming import Asked, Short, claimed, released, renewed
from tidegate.vral.claims import Claim, Health
from tidegate.vral.supplies import CARD, HOST, Market, Supply
from tidegate.vral.tending import tended

CPU = Resource.CPU
VMS = ("a", "b", "c")
AMOUNTS = st.floats(0.1, 6)
ROUNDING = 1e-6


class Leasing(RuleBasedStateMachine):
    """A host and a card, three VMs, and everything that can happen to them."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="leases-")
        self.journal = Journal(Path(self.folder.name), boot="boot")
        self.books, self.now, self.requests = Books(), 0.0, 0
        self.amounts = {HOST: 8.0, CARD: 3.0}
        self.held = {HOST: np.full(3, 2.0), CARD: np.zeros(3)}
        self.predicted = np.full(3, np.nan)
        self.named_shortfall = True
        self.tight = False
        """Whether a supply shrank and not all leases have given way yet."""

    def teardown(self):
        self.journal.close()
        self.folder.cleanup()

    @property
    def market(self):
        needed = np.where(np.isnan(self.predicted), 0.5, np.minimum(self.predicted, 4.0))
        host = Supply(
            name=HOST,
            amount=self.amounts[HOST],
            held=self.held[HOST],
            most=np.full(3, 4.0),
            reserved=needed,
            reserved_sum=float(needed.sum()),
        )
        card = Supply(
            name=CARD,
            amount=self.amounts[CARD],
            held=self.held[CARD],
            most=np.full(3, math.inf),
            reserved=np.zeros(3),
            reserved_sum=0.0,
            is_far=True,
            is_slower=True,
        )
        return Market(
            rows={name: at for at, name in enumerate(VMS)},
            ids=(1, 2, 3),
            priorities=(1, 2, 3),
            supplies={CPU: (card, host)},
            predicted={CPU: self.predicted},
            lead_seconds=60.0,
        )

    def do(self, change):
        if change is not None and (change.put is not None or change.ended is not None):
            self.journal.write(change)
            self.books.commit(change)

    @rule(
        vm=st.sampled_from(VMS),
        wanted=AMOUNTS,
        least=st.floats(0, 1),
        burst=st.floats(1, 2),
        slower=st.booleans(),
    )
    def claim(self, vm, wanted, least, burst, slower):
        self.requests += 1
        claim = Claim(
            request_id=str(self.requests),
            resource=CPU,
            least=least * wanted,
            wanted=wanted,
            burst=burst * wanted,
            may_be_slower=slower,
            ttl_seconds=200.0,
        )
        before = tuple(self.books)
        try:
            self.do(claimed(self.books, vm, claim, self.market, self.now))
        except Refusal as refusal:
            shortfall = refusal.missing if isinstance(refusal, Short) else 1.0
            self.named_shortfall = shortfall > 0
            assert tuple(self.books) == before
        else:
            mine = next(one for one in self.books.of(vm) if one.first is claim)
            assert claim.least - ROUNDING <= mine.amount <= claim.burst + ROUNDING
            # A lease that says it is healthy is held at that very moment.
            if mine.health is Health.HEALTHY:
                row = VMS.index(vm)
                assert all(
                    self.books.drawn(CPU, part.supply)[vm] <= self.held[part.supply][row] + ROUNDING
                    for part in mine.parts
                )

    @rule(at=st.integers(0, 50), wanted=AMOUNTS)
    def renew(self, at, wanted):
        leases = tuple(self.books)
        if leases:
            one = leases[at % len(leases)]
            try:
                change = renewed(self.books, one.vm, one.name, Asked(wanted=wanted), self.market, self.now)
            except Refusal:
                return
            self.do(change)

    @rule(at=st.integers(0, 50))
    def release(self, at):
        leases = tuple(self.books)
        if leases:
            one = leases[at % len(leases)]
            self.do(released(self.books, one.vm, one.name, "q"))
            assert self.books.get(one.vm, one.name) is None

    @rule(host=st.floats(4, 10), card=st.floats(0, 4))
    def places_change(self, host, card):
        self.amounts = {HOST: host, CARD: card}
        self.tight = True

    @rule(demand=st.lists(st.floats(0, 5) | st.just(math.nan), min_size=3, max_size=3))
    def forecast(self, demand):
        self.predicted = np.array(demand)

    @rule(obeyed=st.booleans())
    def sample(self, obeyed):
        if obeyed:
            for supply in (HOST, CARD):
                drawn = self.books.drawn(CPU, supply)
                self.held[supply] = np.array([drawn.get(vm, 0.0) for vm in VMS])
                if supply == HOST:
                    self.held[supply] = np.maximum(self.held[supply], 2.0)
        for lease in self.books:
            self.do(tended(self.books, self.books.get(lease.vm, lease.name), self.market, self.now))

    @rule(seconds=st.floats(0.1, 30))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def notice_is_over(self):
        """Long enough for all that must give way, lease by lease, to have done so."""
        for _ in range(60):
            self.now += 1.0
            self.sample(obeyed=True)
        self.tight = False

    @invariant()
    def never_more_is_leased_than_there_is(self):
        for supply in (HOST, CARD):
            drawn = self.books.drawn(CPU, supply)
            leased = math.fsum(one.drawn(supply) for one in self.books)
            assert math.isclose(math.fsum(drawn.values()), leased, abs_tol=ROUNDING)
            assert all(part.amount > 0 for one in self.books for part in one.parts)
            if not self.tight:
                assert math.fsum(drawn.values()) <= self.amounts[supply] * 1.05 + ROUNDING
            if supply == HOST:
                assert all(amount <= 4.0 + ROUNDING for amount in drawn.values())

    @invariant()
    def a_failure_names_what_is_missing(self):
        assert self.named_shortfall

    @invariant()
    def a_crash_loses_nothing(self):
        self.journal.close()
        self.journal = Journal(Path(self.folder.name), boot="boot")
        again = Books(self.journal.kept.leases, self.journal.kept.ended)
        assert sorted(again, key=_name) == sorted(self.books, key=_name)
        assert again.next_name() == self.books.next_name()


def _name(lease):
    return lease.name


Leasing.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_leases_whatever_happens = Leasing.TestCase
