"""Sets limits of cgroups: owner's value noted first, read back after, never below what is in use."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tidegate.drivers.cgroups.kernel_files import write_text
from tidegate.drivers.cgroups.limits import (
    QUOTA_MICROSECONDS_MIN,
    Setting,
    read_cpu_setting,
    read_memory_setting,
    working_set_bytes,
)
from tidegate.drivers.local.ledger import ENTRIES_MAX, Change, Ledger
from tidegate.model.outcome import Phase
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.drivers.cgroups.hierarchy import Hierarchy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One limit as it should be: cores or bytes."""

    path: str
    resource: Resource
    amount: float
    capacity: float
    """What was sold: whoever is granted all of it gets the owner's own setting back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a wish."""

    phase: Phase
    amount: float
    """As read back, at most the capacity; NaN where there is nothing to read."""


class Limiter(Protocol):
    """Knows what limits mean to their owner, and may be able to change them."""

    def held(self, setting: Setting) -> float:
        """Return what a setting allows now."""
        ...

    def sold(self, setting: Setting) -> float:
        """Return what the owner's setting allows."""
        ...

    def apply(self, wishes: Sequence[Wish]) -> list[Done]:
        """Make the wishes true as far as may be; one answer each."""
        ...


class Untouched:
    """Observes: every setting is the owner's, every wish is refused."""

    def held(self, setting: Setting) -> float:
        """Return what the setting allows."""
        return setting.amount

    def sold(self, setting: Setting) -> float:
        """Return what the setting allows."""
        return setting.amount

    def apply(self, wishes: Sequence[Wish]) -> list[Done]:
        """Refuse them all."""
        return [Done(phase=Phase.REFUSED, amount=math.nan) for _ in wishes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A wish that may come true: the text to write."""

    before: Setting
    text: str
    whole: bool
    """Whether the text gives all that was wished."""


class LimitSetter:
    """Changes limits, each noted in a ledger before it is written."""

    def __init__(self, hierarchy: Hierarchy, ledger: Ledger) -> None:
        """Set limits below these mounts."""
        self._hierarchy = hierarchy
        self._ledger = ledger
        self._asked: dict[str, tuple[str, float]] = {}  # by file: what it held then, and what was asked

    def held(self, setting: Setting) -> float:
        """Return what the setting allows now.

        While the file holds the nearest text there is to what was asked, that is what was asked: a quota
        has whole microseconds and memory whole pages, and the difference is no change to act upon.
        """
        text, amount = self._asked.get(setting.file, ("", math.nan))
        return amount if text == setting.text else setting.amount

    def sold(self, setting: Setting) -> float:
        """Return what the owner's setting allows, whatever the file holds now."""
        return setting.amount_of(self._ledger.owner_text(setting.file, setting.text))

    def apply(self, wishes: Sequence[Wish]) -> list[Done]:
        """Note the owner's values in one go, then write and read back each.

        Of two wishes for one setting the second is refused.
        """
        steps: list[_Step | None] = []
        taken: set[str] = set()
        for wish in wishes:
            step = self._step(wish)
            if step is not None and step.before.file in taken:
                step = None
            steps.append(step)
            taken |= {step.before.file} if step is not None else set()
        changes = [
            Change(file=step.before.file, before=step.before.text, after=step.text)
            for step in steps
            if step is not None and step.text != step.before.text
        ]
        if changes:
            self._ledger.note(changes)
        if len(self._asked) > ENTRIES_MAX:
            self._asked = {file: asked for file, asked in self._asked.items() if Path(file).exists()}
        return [self._take(wish, step) for wish, step in zip(wishes, steps, strict=True)]

    def _step(self, wish: Wish) -> _Step | None:
        """Return how a wish comes true; None where it may not."""
        setting = self._setting(wish) if _is_writable_down(wish.path) else None
        if setting is None or not 0 <= wish.amount < math.inf or math.isnan(wish.capacity):
            return None
        owner = self._ledger.owner_text(setting.file, setting.text)
        text = setting.text_for(wish.amount)
        if wish.amount >= wish.capacity or setting.amount_of(text) > setting.amount_of(owner):
            text = owner
        given = setting.amount_of(text)
        if wish.resource is Resource.MEMORY and given < setting.amount:
            in_use = working_set_bytes(self._hierarchy, wish.path)
            if not given >= in_use:
                return None
        smallest = wish.resource is Resource.CPU and (
            wish.amount * setting.period_microseconds < QUOTA_MICROSECONDS_MIN * (1 - 1e-6)
        )
        return _Step(before=setting, text=text, whole=wish.amount <= wish.capacity and not smallest)

    def _take(self, wish: Wish, step: _Step | None) -> Done:
        """Write, read back, and say what it is now."""
        if step is not None and step.text != step.before.text:
            with contextlib.suppress(OSError):  # gone, or refused by the kernel: reading back tells
                write_text(step.before.file, step.text)
        now = self._setting(wish)
        if now is None:
            return Done(phase=Phase.REFUSED, amount=math.nan)
        phase = Phase.REFUSED
        if step is not None and now.text == step.text:
            phase = Phase.APPLIED if step.whole else Phase.PARTIAL
            if step.whole:
                self._asked[now.file] = now.text, wish.amount
        elif step is not None and now.text != step.before.text:
            phase = Phase.PARTIAL
        return Done(phase=phase, amount=min(self.held(now), wish.capacity))

    def _setting(self, wish: Wish) -> Setting | None:
        if wish.resource is Resource.CPU:
            return read_cpu_setting(self._hierarchy, wish.path)
        if wish.resource is Resource.MEMORY:
            return read_memory_setting(self._hierarchy, wish.path)
        return None


def _is_writable_down(path: str) -> bool:
    """Whether a ledger can hold the path: a name may be any bytes, a ledger is text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
