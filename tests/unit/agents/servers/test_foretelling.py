"""What a device expects reaches the server that asked, over the wire, and is about who is there."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.agents.agent.expected import FORETOLD_SECONDS
from tidegate.agents.servers.foretelling import Foretelling
from tidegate.model.refusals import InvalidField
from tidegate.wire.card.v1 import telemetry_pb2 as pb
from tidegate.wire.foretelling import Foretold, foretold_message, foretold_record


def sent(foretold):
    """A message as the other end reads it."""
    message = pb.Foretold.FromString(foretold_message(foretold).SerializeToString())
    return foretold_record(message, foretold.demand.shape)


@pytest.fixture
def told(card):
    """A card with two servers, what it tells them, and what the first one's agent heard of it."""
    card.add("one", 2)
    card.add("two", 3)
    card.turn()
    heard = []
    agent = card.wires["one"].agent
    agent._thought = lambda _tick, expected: heard.append(expected)
    return card, Foretelling(servers=card.servers), agent, heard


def test_each_server_is_told_its_own_once(told):
    card, foretelling, _, _ = told
    foretelling.seen(card.turn())
    one, two = foretelling.take("one"), foretelling.take("two")
    assert (one.demand.shape, two.demand.shape) == ((2, 2), (2, 3))
    assert np.isfinite(one.demand).all()
    assert foretelling.take("one") is None


def test_the_agent_has_it_for_a_while(told):
    card, foretelling, agent, heard = told
    foretelling.seen(card.turn())
    news = sent(foretelling.take("one"))
    agent.foretold(news)
    agent.think()
    np.testing.assert_array_equal(heard[-1], news.demand)
    card.time.seconds += FORETOLD_SECONDS + 1
    agent.think()
    assert heard[-1] is None


def test_of_another_roster_it_is_left_out(told):
    _, _, agent, heard = told
    version = agent.who.version + 1
    agent.foretold(Foretold(roster_version=version, lead_seconds=60.0, demand=np.ones((2, 2), np.float32)))
    agent.think()
    assert heard[-1] is None


def test_a_frame_of_another_size_or_below_zero_is_refused():
    message = foretold_message(
        Foretold(roster_version=1, lead_seconds=60.0, demand=np.full((2, 2), -1, np.float32))
    )
    with pytest.raises(InvalidField, match=r"foretold\.demand"):
        foretold_record(message, (2, 2))
    with pytest.raises(InvalidField, match=r"foretold\.demand"):
        foretold_record(message, (2, 3))
