"""What every runtime of a card is held to, whether its programs are processes or simulated."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.model.application import Amounts
from tidegate.model.errors import InputError, TidegateError
from tidegate.testing.checks import checks_of, require, run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.model.application import ApplicationSpec, Running, Usage
    from tidegate.ports import CardRuntime
    from tidegate.testing.checks import Check

TRIES_MAX: Final = 100
"""How often something is looked for that takes a while."""
TRY_SECONDS: Final = 0.1
GRACE_SECONDS: Final = 5.0
AMOUNTS: Final = Amounts(cpu_cores=0.5, memory_bytes=256 << 20)
"""What the application holds at first in every check."""
MEMORY_BYTES_TOO_FEW: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    make: Callable[[], CardRuntime]
    again: Callable[[CardRuntime], CardRuntime]
    spec: ApplicationSpec
    pause: Callable[[float], object]

    @contextmanager
    def card(self) -> Iterator[CardRuntime]:
        """Give a card with nothing on it, and end what is left on it."""
        runtime = self.make()
        try:
            yield runtime
        finally:
            self.clear(self.again(runtime))

    @staticmethod
    def clear(runtime: CardRuntime) -> None:
        for running in runtime.found():
            runtime.stop(running.name, grace_seconds=0.0)


def check_card_runtime(
    make: Callable[[], CardRuntime],
    *,
    again: Callable[[CardRuntime], CardRuntime],
    spec: ApplicationSpec,
    pause: Callable[[float], object],
) -> None:
    """Run every check on runtimes that ``make`` returns, each over a card with nothing on it.

    ``again`` returns a new runtime over the card of one given, as after that one's death, and may be called
    more than once. ``spec`` is an application that keeps the hand-off contract and needs no port of its own,
    as two of it run beside each other. ``pause`` lets seconds pass.

    Raises:
        AssertionError: at least one check fails; a line for each says what.

    """
    run_all(card_runtime_checks(make, again=again, spec=spec, pause=pause))


def card_runtime_checks(
    make: Callable[[], CardRuntime],
    *,
    again: Callable[[CardRuntime], CardRuntime],
    spec: ApplicationSpec,
    pause: Callable[[float], object],
) -> tuple[Check, ...]:
    """Return the checks one by one."""
    given = replace(spec, amounts=AMOUNTS, floor=Amounts(), ceiling=Amounts(), hands_off=True)
    return checks_of(_Subject(make=make, again=again, spec=given, pause=pause), CHECKS)


def _only(runtime: CardRuntime) -> Running:
    found = runtime.found()
    require(len(found) == 1, f"{len(found)} applications are found, 1 was started")
    return found[0]


def _used(runtime: CardRuntime) -> Usage:
    used = runtime.usage()
    require(len(used) == 1, f"{len(used)} applications are told the usage of, 1 was started")
    return used[0]


def _require_refused(kind: type[TidegateError], act: Callable[[], object], what: str) -> None:
    try:
        act()
    except kind as error:
        require(str(error), f"{what} is refused without a sentence")
        return
    require(holds=False, sentence=f"{what} is not refused; raise {kind.__name__}")


def check_what_is_started_is_found(subject: _Subject) -> None:
    """With its name, its epoch, whether it waits, at least one process, and what it holds."""
    with subject.card() as runtime:
        require(not runtime.found(), "something is found on a card with nothing on it")
        started = runtime.start("first", subject.spec, epoch=3, standby=False)
        waiting = runtime.start("waits", subject.spec, epoch=4, standby=True)
        found = {running.name: running for running in runtime.found()}
        require(set(found) == {"first", "waits"}, f"{sorted(found)} are found, first and waits were started")
        for said in (started, found["first"]):
            require((said.name, said.epoch, said.standby) == ("first", 3, False), f"{said} is not as started")
        for said in (waiting, found["waits"]):
            require((said.name, said.epoch, said.standby) == ("waits", 4, True), f"{said} is not as started")
        require(found["first"].processes >= 1, "an application runs without a process")
        require(found["first"].held == started.held, "what is held is told differently by start and found")


def check_a_name_is_taken_once(subject: _Subject) -> None:
    """Who has it keeps running as it was."""
    with subject.card() as runtime:
        runtime.start("one", subject.spec, epoch=1, standby=False)
        _require_refused(
            InputError,
            lambda: runtime.start("one", subject.spec, epoch=2, standby=False),
            "a name that is taken",
        )
        require(_only(runtime).epoch == 1, "who had the name is no more what it was")


def check_what_can_not_be_is_refused(subject: _Subject) -> None:
    """Names that are no names, and waiting for a state that nobody can take in; nothing is left of it."""
    with subject.card() as runtime:
        for name in ("", ".", "..", "a/b", "-a", "x" * 64):
            _require_refused(
                InputError,
                lambda name=name: runtime.start(name, subject.spec, epoch=0, standby=False),  # type: ignore[misc]
                f"the name {name!r}",
            )
        plain = replace(subject.spec, hands_off=False)
        _require_refused(
            InputError,
            lambda: runtime.start("a", plain, epoch=0, standby=True),
            "standby of an application that does not hand off",
        )
        require(not runtime.found(), "something runs that was refused")


def check_nobody_is_nobody(subject: _Subject) -> None:
    """A name that nobody has can be stopped, and nothing else."""
    with subject.card() as runtime:
        runtime.stop("nobody", grace_seconds=0.0)
        _require_refused(InputError, lambda: runtime.adjust("nobody", AMOUNTS), "adjusting nobody")
        _require_refused(InputError, lambda: runtime.export_state("nobody", []), "exporting nobody")
        _require_refused(
            InputError, lambda: runtime.import_state("nobody", [], state_bytes=0), "importing into nobody"
        )
        require(not runtime.usage(), "nobody uses something")


def check_who_is_stopped_is_gone(subject: _Subject) -> None:
    """With or without grace, twice is no error, and the name is free."""
    with subject.card() as runtime:
        for epoch, grace_seconds in enumerate((GRACE_SECONDS, 0.0)):
            runtime.start("one", subject.spec, epoch=epoch, standby=False)
            runtime.stop("one", grace_seconds=grace_seconds)
            require(not runtime.found(), f"it is still found after a grace of {grace_seconds:g} s")
            require(not runtime.usage(), "who is gone is told the usage of")
            runtime.stop("one", grace_seconds=0.0)


def check_limits_are_told_as_they_are(subject: _Subject) -> None:
    """What is not said stays; what is said is held, and told the same by everyone."""
    with subject.card() as runtime:
        held = runtime.start("one", subject.spec, epoch=0, standby=False).held
        require(held.cpu_cores is not None, "CPU is not limited")
        require(held.memory_bytes is not None, "memory is not limited")
        more = Amounts(cpu_cores=1.0, memory_bytes=512 << 20)
        for wanted in (Amounts(cpu_cores=0.25), more, Amounts(memory_bytes=384 << 20), Amounts()):
            now = runtime.adjust("one", wanted)
            for name, amount in held.known().items():
                asked = wanted.known().get(name, amount)
                found = now.known().get(name, math.inf)
                require(math.isclose(found, asked, rel_tol=0.01), f"{name} is {found:g}, not {asked:g}")
            require(_only(runtime).held == now, "what is held is told differently by adjust and found")
            held = now


def check_memory_in_use_is_not_taken_away(subject: _Subject) -> None:
    """A limit below it is not forced: what is told is what is in force, and the application runs on."""
    with subject.card() as runtime:
        before = runtime.start("one", subject.spec, epoch=0, standby=False)
        _first_use(subject, runtime)
        held = runtime.adjust("one", Amounts(memory_bytes=MEMORY_BYTES_TOO_FEW)).memory_bytes
        used = _used(runtime).memory_bytes
        require(held is None or held >= used, f"{held} bytes are told to be held, {used} are in use")
        require(
            _only(runtime).processes >= before.processes > 0, "it did not survive a limit that is too low"
        )


def check_usage_grows(subject: _Subject) -> None:
    """Counters never fall, and time goes on."""
    with subject.card() as runtime:
        runtime.start("one", subject.spec, epoch=0, standby=False)
        before = _first_use(subject, runtime)
        require(before.name == "one", f"the usage of {before.name} is told, one was started")
        for _ in range(3):
            subject.pause(TRY_SECONDS)
            now = _used(runtime)
            require(now.time_seconds >= before.time_seconds, "time runs backwards")
            require(now.cpu_seconds >= before.cpu_seconds, "CPU seconds were given back")
            require(now.throttled_seconds >= before.throttled_seconds, "throttled seconds were given back")
            before = now


def check_it_outlives_its_runtime(subject: _Subject) -> None:
    """Another runtime over the same card finds it as it was, and can do everything with it."""
    with subject.card() as runtime:
        started = runtime.start("one", subject.spec, epoch=5, standby=False)
        held = runtime.adjust("one", Amounts(cpu_cores=0.75))
        later = subject.again(runtime)
        found = _only(later)
        require((found.name, found.epoch, found.standby) == ("one", 5, False), f"{found} is not as started")
        require(found.held == held != started.held, "what is held was lost with the runtime")
        require(later.adjust("one", Amounts(cpu_cores=0.5)).cpu_cores == 0.5, "it can't be adjusted any more")
        require(_state(later, "one"), "it hands out no state any more")
        later.stop("one", grace_seconds=GRACE_SECONDS)
        require(not later.found(), "it can't be stopped any more")


def check_a_state_moves(subject: _Subject) -> None:
    """From who serves to who waits, which then waits no more; asked again, both do the same again."""
    with subject.card() as runtime:
        runtime.start("from", subject.spec, epoch=0, standby=False)
        runtime.start("to", subject.spec, epoch=1, standby=True)
        state = _state(runtime, "from")
        require(_state(runtime, "from") == state, "asked again it hands out another state")
        for _ in range(2):
            runtime.import_state("to", [state[:1], state[1:]], state_bytes=len(state))
            standby = {running.name: running.standby for running in runtime.found()}
            require(standby == {"from": False, "to": False}, "who was given a state still waits for one")
        require(_state(runtime, "to") == state, "what was taken in is not what is handed out")


def check_a_state_is_taken_back(subject: _Subject) -> None:
    """A move that comes to nothing ends where it began."""
    with subject.card() as runtime:
        runtime.start("one", subject.spec, epoch=0, standby=False)
        state = _state(runtime, "one")
        runtime.import_state("one", [state], state_bytes=len(state))
        require(_state(runtime, "one") == state, "what was taken back is not what was handed out")


def check_a_state_that_is_not_whole_changes_nothing(subject: _Subject) -> None:
    """Too short, too long, or broken off: who waits goes on waiting, and can be given a whole one."""
    with subject.card() as runtime:
        runtime.start("from", subject.spec, epoch=0, standby=False)
        runtime.start("to", subject.spec, epoch=1, standby=True)
        state = _state(runtime, "from")
        for pieces, said in (([state], len(state) + 1), ([state, b"more"], len(state)), ([b"x"], 0)):
            _require_refused(
                TidegateError,
                lambda pieces=pieces, said=said: runtime.import_state("to", pieces, state_bytes=said),  # type: ignore[misc]
                f"a state of {sum(map(len, pieces))} bytes, said to be {said},",
            )
        _require_refused(
            TidegateError,
            lambda: runtime.import_state("to", _broken(state), state_bytes=len(state)),
            "a state that breaks off",
        )
        waits = {running.name: running.standby for running in runtime.found()}
        require(waits == {"from": False, "to": True}, "after half a state it waits no more")
        runtime.import_state("to", [state], state_bytes=len(state))


def check_who_does_not_hand_off_is_not_asked_to(subject: _Subject) -> None:
    """Its state is its own."""
    with subject.card() as runtime:
        runtime.start("one", replace(subject.spec, hands_off=False), epoch=0, standby=False)
        _require_refused(
            InputError, lambda: runtime.export_state("one", []), "exporting who does not hand off"
        )
        _require_refused(
            InputError,
            lambda: runtime.import_state("one", [b""], state_bytes=0),
            "importing into who does not hand off",
        )


CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_what_is_started_is_found,
    check_a_name_is_taken_once,
    check_what_can_not_be_is_refused,
    check_nobody_is_nobody,
    check_who_is_stopped_is_gone,
    check_limits_are_told_as_they_are,
    check_memory_in_use_is_not_taken_away,
    check_usage_grows,
    check_it_outlives_its_runtime,
    check_a_state_moves,
    check_a_state_is_taken_back,
    check_a_state_that_is_not_whole_changes_nothing,
    check_who_does_not_hand_off_is_not_asked_to,
)


def _state(runtime: CardRuntime, name: str) -> bytes:
    return b"".join(runtime.export_state(name, ["192.0.2.1:7000"]))


def _broken(state: bytes) -> Iterator[bytes]:
    yield state[:1]
    raise TidegateError("the other card is gone")


def _first_use(subject: _Subject, runtime: CardRuntime) -> Usage:
    """Wait until some memory is used."""
    used = _used(runtime)
    for _ in range(TRIES_MAX):
        if used.memory_bytes > MEMORY_BYTES_TOO_FEW:
            return used
        subject.pause(TRY_SECONDS)
        used = _used(runtime)
    require(holds=False, sentence="it uses no memory")
    return used
