"""Runs stories about small fleets: every *.scenario file here is a test.

One statement a line, `#` starts a comment. Ticks count from 1, one sample each; the last sample of a load
stays. Amounts are plain numbers, in the resource's unit; what belongs together may stand in any order.

    policy NAME                          of the registry, or offload_first (which expects the last value)
    guards                               the product's guards in their order; without this line there are none
    lead N                               steps until a decision holds; 1 by default
    server NAME cpu 8 [memory 64 ...]    what is allocatable there
    card NAME cpu 4 [worth 0.5]          serves every server; a unit is worth so many of a server's
    vm NAME on SERVER [card CARD] cpu 8 [class 2] [floor 1] [offloadable 0.5] [sla 0.01]
    load RESOURCE VM 1 1 4x3 _ -         demand by tick; 4x3 is three times 4, _ is a missing sample, - is a
                                         VM that isn't there

    expect grant VM host|card|total OP NUMBER WHEN      what it held during the sample
    expect shortfall VM OP NUMBER WHEN                  what the plan made after the sample can't cover
    expect reason VM give_back WHEN                     why that plan is as it is
    expect action VM resize|rehome|migrate|none WHEN    what was submitted after the sample
    expect short VM yes|no WHEN                         whether the sample was pressed against the grant

OP is one of = < > <= >=; WHEN is `at N` or `from N to M`. Grants, reasons and actions are of CPU, or of the
resource written behind the VM as in `a/memory`.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np
import pytest

from tidegate.app.registry import Settings, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.wiring import guards
from tidegate.drivers.simulated.fleet import Fleet, SimulatedFleet
from tidegate.forecast.recent_peak import last_value
from tidegate.journal.memory import MemoryJournal
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD, Roster
from tidegate.model.trace import Trace
from tidegate.plan.difference import difference
from tidegate.plan.policies.offload_first import OffloadFirst
from tidegate.score.nothing import NothingScorer
from tidegate.testing import places_of

STEP_SECONDS = 300
LABELS = {resource.label: resource for resource in Resource}
OPERATORS = {"=": None, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


class ScenarioError(Exception):
    """An expectation that failed, or a line that can't be read."""


@dataclass
class Story:
    """What a scenario file says."""

    policy: str = "offload_first"
    guarded: bool = False
    lead: int = 1
    servers: dict = field(default_factory=dict)
    cards: dict = field(default_factory=dict)
    vms: dict = field(default_factory=dict)
    loads: dict = field(default_factory=dict)
    expectations: list = field(default_factory=list)

    @property
    def resources(self):
        return tuple(sorted({resource for resource, _ in self.loads}))


def pairs(words):
    """`cpu 8 class 2` as a dictionary; resources by what they are."""
    return {LABELS.get(key, key): value for key, value in zip(words[::2], words[1::2], strict=True)}


def samples(words):
    """`1 4x3 _ -` as numbers: missing is NaN, not there is None."""
    read = []
    for word in words:
        amount, _, times = word.partition("x")
        value = {"_": float("nan"), "-": None}.get(amount, amount)
        read += [value if value is None else float(value)] * int(times or 1)
    return read


def parsed(lines):
    story = Story()
    for number, line in lines:
        match line.split():
            case ["policy", name]:
                story.policy = name
            case ["guards"]:
                story.guarded = True
            case ["lead", steps]:
                story.lead = int(steps)
            case ["server", name, *rest]:
                story.servers[name] = pairs(rest)
            case ["card", name, *rest]:
                story.cards[name] = pairs(rest)
            case ["vm", name, *rest]:
                story.vms[name] = pairs(rest)
            case ["load", resource, vm, *rest] if vm in story.vms:
                story.loads[LABELS[resource], vm] = samples(rest)
            case ["expect", what, vm, *rest]:
                story.expectations.append((number, line, what, vm, rest))
            case _:
                raise ScenarioError(f"line {number}: '{line}' is no statement; the grammar is in conftest.py")
    return story


def fleet_of(story):
    resources = story.resources
    rows = [[float(place.get(r, 0)) for place in story.servers.values()] for r in resources]
    cards = [[float(place.get(r, 0)) for place in story.cards.values()] for r in resources]
    worth = {float(place.get("worth", 0.5)) for place in story.cards.values()} or {1.0}
    (one_worth,) = worth  # all cards of a scenario are alike
    vms = list(story.vms.values())
    shape = len(resources), len(vms)
    names = [*story.servers, *story.cards]
    return Fleet(
        roster=Roster(
            ids=np.arange(len(vms), dtype=np.int64),
            names=tuple(story.vms),
            violation_rate=np.array([vm.get("sla", 0.01) for vm in vms], dtype=np.float32),
            priority=np.array([vm.get("class", 1) for vm in vms]).astype(np.uint8),
            floor=np.ones(shape, np.float32) * np.array([vm.get("floor", 0) for vm in vms], dtype=np.float32),
            offloadable_ratio=np.ones(shape, np.float32)
            * np.array([vm.get("offloadable", 0) for vm in vms], dtype=np.float32),
        ),
        places=places_of(servers=rows, cards=cards if story.cards else (), worth=one_worth),
        host=np.array([names.index(vm["on"]) for vm in vms], dtype=np.int32),
        card=np.array([names.index(vm["card"]) if "card" in vm else NO_CARD for vm in vms], dtype=np.int32),
    )


def trace_of(story):
    ticks = max(len(load) for load in story.loads.values())
    ticks = max(ticks, *(int(rest[-1]) for *_, rest in story.expectations))
    shape = len(story.resources), ticks, len(story.vms)
    used, capacity = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    for at, (vm, said) in enumerate(story.vms.items()):
        for row, resource in enumerate(story.resources):
            load = story.loads.get((resource, vm), [float("nan")])
            for tick in range(ticks):
                now = load[min(tick, len(load) - 1)]
                if now is not None:
                    used[row, tick, at], capacity[row, tick, at] = now, float(said[resource])
    return Trace(
        name="scenario", start_seconds=1_704_067_200, step_seconds=STEP_SECONDS, resources=story.resources,
        vms=tuple(story.vms), servers=(), used=used, capacity=capacity,
    )  # fmt: skip


def told(story):
    """Run the loop to the end and return its ticks."""
    trace = trace_of(story)
    fleet = SimulatedFleet(trace, fleet_of(story), lead_steps=story.lead)
    if story.policy == "offload_first":
        forecaster, planner = last_value(step_seconds=STEP_SECONDS), OffloadFirst()
    else:
        settings = Settings(resources=trace.resources, step_seconds=STEP_SECONDS, lead_steps=story.lead)
        forecaster, planner = policy(story.policy)(settings)
    loop = Loop(
        telemetry=fleet, forecaster=forecaster, scorer=NothingScorer(), planner=planner,
        guards=guards(fleet) if story.guarded else (), difference=difference, actuator=fleet,
        journal=MemoryJournal(), learner=NothingLearner(), stopwatch=StageTimer(),
    )  # fmt: skip
    return [loop.tick() for _ in range(trace.ticks)]


def found_at(tick, what, at, rest):
    """What an expectation looks at in one tick: a number or words."""
    row, vm = at
    snapshot = tick.snapshot
    match what, rest:
        case "grant", [where, *_]:
            shares = {"host": snapshot.grant[HOST], "card": snapshot.grant[CARD], "total": snapshot.held}
            return float(shares[where][row, vm])
        case "shortfall", _:
            return 0.0 if tick.plan.shortfall is None else float(tick.plan.shortfall[row, vm])
        case "reason", _:
            return {Reason(int(tick.plan.reason[row, vm])).name.lower()}
        case "short", _:
            return {"yes" if snapshot.pressed[row, vm] else "no"}
        case "action", _:
            mine = zip(tick.actions, tick.actions.workload, tick.actions.resource_row, strict=True)
            return {type(done).__name__.lower() for done, w, r in mine if (r, w) == (row, vm)} or {"none"}
    raise ScenarioError(f"'expect {what}' is not known; the grammar is in conftest.py")


def check(story, ticks):
    for number, line, what, name, rest in story.expectations:
        vm, _, label = name.partition("/")
        at = story.resources.index(LABELS[label or "cpu"]), list(story.vms).index(vm)
        first = int(rest[-3] if "from" in rest else rest[-1])
        for tick in range(first, int(rest[-1]) + 1):
            found = found_at(ticks[tick - 1], what, at, rest)
            words = rest[1:] if what == "grant" else rest
            if isinstance(found, float):
                wanted = float(words[1])
                compare = OPERATORS[words[0]]
                holds = (
                    found == pytest.approx(wanted, rel=1e-5) if compare is None else compare(found, wanted)
                )
            else:
                holds = words[0] in found
            if not holds:
                shown = found if isinstance(found, float) else ", ".join(sorted(found))
                raise ScenarioError(f"line {number}: {line}\n  but at {tick} it is {shown}")


class ScenarioItem(pytest.Item):
    """One story."""

    def runtest(self):
        text = self.path.read_text("utf-8").splitlines()
        lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text, 1)]
        story = parsed([(number, line) for number, line in lines if line])
        if not story.expectations:
            raise ScenarioError("nothing is expected: a story without an end tests nothing")
        check(story, told(story))

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, ScenarioError):
            return f"{self.path.name}, {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, 0, self.path.stem


class ScenarioFile(pytest.File):
    """A file with one story."""

    def collect(self):
        yield ScenarioItem.from_parent(self, name=self.path.stem)


def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".scenario":
        return ScenarioFile.from_parent(parent, path=file_path)
    return None
