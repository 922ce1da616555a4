"""What is told beside ticks is seen, also where no loop turns."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from tidegate.cli import watched
from tidegate.cli.watched import Board


class Live:
    """A live view that keeps what it is given."""

    def __init__(self):
        self.drawn = []

    def update(self, what, *, refresh):
        assert refresh
        console = Console(file=StringIO(), width=60, height=10, record=True)
        console.print(what)
        self.drawn.append(console.export_text())


@pytest.fixture
def board():
    made = Board(Console(file=StringIO(), width=60, height=10), Live(), None)
    made.parts.append(lambda size: "\n".join(["row"] * size[1]))
    return made


def test_a_notice_is_drawn_at_once(board):
    board.notice("the agent ended")
    assert "the agent ended" in board.live.drawn[-1]
    assert board.live.drawn[-1].count("\n") == 10


def test_what_is_down_stands_in_the_view_where_no_tick_draws_it(board, monkeypatch):
    board.conditions = lambda: ["the agent is down: no luck", "the fleet manager is down: nor that"]
    monkeypatch.setattr(watched, "STANDING_SECONDS", 0.0)
    board.stand()
    assert "the agent is down: no luck" in board.live.drawn[-1]
    assert "the fleet manager is down: nor that" in board.live.drawn[-1]
    assert board.live.drawn[-1].count("\n") == 10
    board.conditions = list
    board.stand()
    assert "down" not in board.live.drawn[-1]
    monkeypatch.setattr(watched, "STANDING_SECONDS", 3600.0)
    board.stand()
    assert len(board.live.drawn) == 2
