"""A host with room for eight cores and a card with room for two; VMs a, b and c hold two cores each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.model.resources import Resource
from tidegate.vral.books import Books
from tidegate.vral.claiming import claimed
from tidegate.vral.claims import Claim
from tidegate.vral.supplies import CARD, HOST, Market, Supply

CPU = Resource.CPU
NAMES = ("a", "b", "c")


def array(*numbers):
    return np.array(numbers, dtype=np.float64)


def supply(name, amount, *, held, most=4.0, reserved=None, **other):
    reserved = array(*held) if reserved is None else array(*reserved)
    return Supply(
        name=name,
        amount=amount,
        held=array(*held),
        most=np.full(len(held), most),
        reserved=reserved,
        reserved_sum=float(reserved.sum()),
        **other,
    )


class World:
    """Books, a market and a clock."""

    def __init__(self):
        self.books, self.now = Books(), 1000.0
        self.host_amount, self.card_amount = 8.0, 2.0
        self.held, self.on_card = [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]
        self.predicted = [np.nan] * 3
        self.has_card = True
        self.reserved = None

    @property
    def market(self):
        host = supply(HOST, self.host_amount, held=self.held, reserved=self.reserved)
        card = supply(
            CARD,
            self.card_amount,
            held=self.on_card,
            most=99.0,
            reserved=[0.0] * 3,
            is_far=True,
            is_slower=True,
        )
        return Market(
            rows={name: at for at, name in enumerate(NAMES)},
            ids=(1, 2, 3),
            priorities=(1, 2, 3),
            supplies={CPU: (card, host) if self.has_card else (host,)},
            predicted={CPU: array(*self.predicted)},
            lead_seconds=60.0,
        )

    def claim(self, vm="a", wanted=1.0, *, least=None, request="r", **other):
        claim = Claim(
            request_id=request,
            resource=CPU,
            least=wanted if least is None else least,
            wanted=wanted,
            burst=other.pop("burst", wanted),
            **other,
        )
        change = claimed(self.books, vm, claim, self.market, self.now)
        self.books.commit(change)
        return change.put

    def do(self, change):
        if change is not None:
            self.books.commit(change)
        return change

    def changed(self, lease, **fields):
        return replace(lease, **fields)


@pytest.fixture
def world():
    return World()
