"""Ways from servers to cards: measured, guessed, and what the planner makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.agents.fleet.columns import columns
from tidegate.agents.fleet.lateness import (
    FAR_SECONDS,
    LATENCY_USUAL_SECONDS,
    lateness,
    way_seconds,
    ways_seconds,
)
from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Link, Placed
from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState, Sla
from tidegate.plan.cards import CardPlanner

DWELL_SECONDS = 120.0


def serving(server, latency_seconds=None):
    return ApplicationSpec(
        command=("serve",),
        amounts=Amounts(cpu_cores=0.1),
        server=server,
        hands_off=True,
        sla=Sla(latency_p99_max_seconds=latency_seconds),
    )


def a_card(name, *running, **links):
    return CardSeen(
        name=name,
        address=f"tcp:{name}:1",
        allocatable=Amounts(cpu_cores=4.0),
        links={peer.replace("_", "-"): link for peer, link in links.items()},
        applications=running,
    )


def milliseconds(amount, loss=0.0):
    return Link(latency_seconds=amount / 1e3, loss_ratio=loss)


def moves(*cards, since_seconds=0.0, now_seconds=1000.0):
    """Return who moves where in one plan, all seen and settled as told."""
    placed = [
        Placed(
            name=one.name, card=card.name, epoch=0, epoch_asked=0, spec=one.spec, since_seconds=since_seconds
        )
        for card in cards
        for one in card.applications
    ]
    fleet = columns(cards, placed, heard={card.name for card in cards}, held_back={}, now_seconds=now_seconds)
    plan = CardPlanner(dwell_seconds=DWELL_SECONDS).plan(fleet)
    return {(move.application, move.card_from, move.card_to) for move in plan.moves}


def running(name="web", server="s", **others):
    return ApplicationSeen(
        name=name, epoch=0, state=ApplicationState.RUNNING, spec=serving(server, **others),
        used=Amounts(cpu_cores=0.1),
    )  # fmt: skip


def test_loss_makes_a_way_late_as_delay_does():
    clean, lossy = Link(latency_seconds=0.01), Link(latency_seconds=0.01, loss_ratio=0.1)
    assert way_seconds(clean) == 0.01
    assert way_seconds(lossy) == pytest.approx(0.01 + 0.2 / 9)
    card = a_card("a", s=clean)
    specs = [serving("s"), serving("s", 0.02), serving("s", 0.001), serving("")]
    found = lateness(specs, [card])[:, 0]
    assert found == pytest.approx([0.01 / LATENCY_USUAL_SECONDS, 0.5, 1.0, 0.0])
    assert lateness([], [card]).shape == (0, 1)


def test_a_way_nobody_measured_is_neither_perfect_nor_bad():
    near, far = a_card("a", s=milliseconds(2), t=milliseconds(8)), a_card("b", s=milliseconds(4))
    unknown = a_card("c")
    found = ways_seconds(["s", "t", "u"], [near, far, unknown]) * 1e3
    np.testing.assert_allclose(found, [[2, 4, 4], [8, 8, 8], [4, 4, 4]])
    # Far servers are far from everywhere; a link as slow as this one is ill.
    slow = a_card("a", s=milliseconds(400))
    np.testing.assert_allclose(ways_seconds(["s"], [slow, unknown]), [[0.4, FAR_SECONDS]])
    assert not ways_seconds(["s"], [unknown]).any()
    assert ways_seconds([], [unknown]).shape == (0, 1)


def test_nobody_leaves_a_good_way_for_one_that_was_not_measured():
    assert moves(a_card("a", running(), s=milliseconds(20)), a_card("b")) == set()
    assert moves(a_card("a", running()), a_card("b", s=milliseconds(1))) == set()


def test_who_has_an_ill_way_may_leave_for_one_that_was_not_measured():
    ill = a_card("a", running(), s=milliseconds(150, loss=0.2))
    assert moves(ill, a_card("b")) == {("web", "a", "b")}


def test_loss_and_delay_move_placement_off_a_link_and_back_after_dwell():
    on_near = [running("web-1"), running("web-2"), running("other", server="")]
    good, bad, other = milliseconds(2), milliseconds(120, loss=0.1), milliseconds(30)
    assert moves(a_card("near", *on_near, s=good), a_card("far", s=other)) == set()
    left = {("web-1", "near", "far"), ("web-2", "near", "far")}
    assert moves(a_card("near", *on_near, s=bad), a_card("far", s=other)) == left
    away = a_card("far", *on_near[:2], s=other)
    recovered = a_card("near", on_near[2], s=good)
    soon, due = 1000.0 - DWELL_SECONDS + 1, 1000.0 - DWELL_SECONDS
    assert moves(recovered, away, since_seconds=soon) == set()
    back = {("web-1", "far", "near"), ("web-2", "far", "near")}
    assert moves(recovered, away, since_seconds=due) == back
