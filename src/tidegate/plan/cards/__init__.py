"""Which card each application belongs on, and what it may hold there."""

from tidegate.plan.cards.planner import CardPlanner

__all__ = ["CardPlanner"]
