"""What is wanted of applications and how they are, between records and messages."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tidegate.model.application import (
    VIOLATION_RATE,
    Amounts,
    ApplicationSpec,
    ApplicationState,
    Restart,
    Sla,
    checked_name,
)
from tidegate.model.outcome import Phase
from tidegate.model.refusals import InvalidField
from tidegate.wire import amounts as amounts_codec
from tidegate.wire.card.v1 import adjustment_pb2, application_pb2
from tidegate.wire.clocks import duration, nanoseconds
from tidegate.wire.fields import checked_count, checked_text, in_field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.model.application import Running
    from tidegate.wire.card.v1 import amounts_pb2

COMMAND_WORDS_MAX: Final = 256
"""A program and its arguments."""
TEXT_BYTES_MAX: Final = 16 * 1024
"""Longest argument or value of a variable; a page is 4 KiB, the kernel's own limit 128 KiB."""
ENVIRONMENT_MAX: Final = 256
PORTS_MAX: Final = 16
STATE_BYTES_MAX: Final = 2**40
"""Largest state an owner may announce: a tebibyte, more than any card holds."""
EPOCH_MAX: Final = 2**62
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""What a variable of the environment may be called: POSIX, and lower case too."""

RESTARTS: Final = {
    application_pb2.RESTART_UNSPECIFIED: Restart.ON_FAILURE,
    application_pb2.RESTART_ON_FAILURE: Restart.ON_FAILURE,
    application_pb2.RESTART_NEVER: Restart.NEVER,
}
RESTARTS_SENT: Final = {
    Restart.ON_FAILURE: application_pb2.RESTART_ON_FAILURE,
    Restart.NEVER: application_pb2.RESTART_NEVER,
}
LISTENING: Final = "Listening"
"""The condition of an application on standby: whether its program would take a state in now."""
CHANGEABLE: Final = ("floor", "ceiling", "budget", "sla", "restart", "state_bytes")
"""Fields of a spec that an update may name."""
PATHS_MAX: Final = 16
"""Paths in an update's mask; there are six that mean something."""
STATES_TO_START_AS: Final = frozenset(
    {ApplicationState.STOPPED, ApplicationState.RUNNING, ApplicationState.STANDBY}
)


def spec_message(spec: ApplicationSpec) -> application_pb2.ApplicationSpec:
    """Return a spec as it is sent; whoever gets it checks its limits."""
    return application_pb2.ApplicationSpec(
        command=spec.command,
        environment=spec.environment,
        working_folder=spec.working_folder,
        ports=spec.ports,
        amounts=amounts_codec.to_message(spec.amounts),
        floor=amounts_codec.to_message(spec.floor),
        ceiling=amounts_codec.to_message(spec.ceiling),
        sla=sla_message(spec.sla),
        hands_off=spec.hands_off,
        server=spec.server,
        state_bytes=spec.state_bytes,
        restart=RESTARTS_SENT[spec.restart],
        budget=amounts_codec.to_message(spec.budget),
    )


def spec_record(message: application_pb2.ApplicationSpec, field: str = "application.spec") -> ApplicationSpec:
    """Return a spec that can be run, as far as can be told from itself.

    Raises:
        InvalidField: a field is too long, too many, or can't be; it is named below ``field``.

    """
    with in_field(field):
        environment = _environment(message)
        return ApplicationSpec(
            command=_command(message),
            environment=environment,
            working_folder=_folder(message.working_folder),
            ports=_ports(message),
            amounts=_amounts("amounts", message.amounts),
            floor=_amounts("floor", message.floor),
            ceiling=_amounts("ceiling", message.ceiling),
            sla=_sla(message.sla),
            hands_off=message.hands_off,
            server=_server(message.server),
            state_bytes=_state_bytes(message.state_bytes),
            restart=_restart(message.restart),
            budget=_amounts("budget", message.budget),
        )


def updated(
    spec: ApplicationSpec,
    message: application_pb2.ApplicationSpec,
    paths: Iterable[str],
    field: str = "application.spec",
) -> ApplicationSpec:
    """Return a spec with the fields that a mask's paths (`spec.floor`, ...) name taken from a message.

    Raises:
        InvalidField: a path names no field that may be changed, or a field can't be what it is.

    """
    wanted = [path.removeprefix("spec.") for path in paths]
    checked_count("update_mask", len(wanted), PATHS_MAX, "paths")
    if not wanted:
        raise InvalidField("update_mask", "it names nothing; name fields to change, as in spec.ceiling")
    for path in wanted:
        if path not in CHANGEABLE:
            listed = ", ".join(f"spec.{name}" for name in CHANGEABLE)
            raise InvalidField("update_mask", f"{path[:64]!r} can't be changed; name some of {listed}")
    with in_field(field):
        return replace(
            spec,
            floor=_amounts("floor", message.floor) if "floor" in wanted else spec.floor,
            ceiling=_amounts("ceiling", message.ceiling) if "ceiling" in wanted else spec.ceiling,
            budget=_amounts("budget", message.budget) if "budget" in wanted else spec.budget,
            sla=_sla(message.sla) if "sla" in wanted else spec.sla,
            restart=_restart(message.restart) if "restart" in wanted else spec.restart,
            state_bytes=_state_bytes(message.state_bytes) if "state_bytes" in wanted else spec.state_bytes,
        )


def sla_message(sla: Sla) -> application_pb2.Sla:
    """Return what was agreed as it is sent."""
    latency = sla.latency_p99_max_seconds
    return application_pb2.Sla(
        violation_rate=sla.violation_rate,
        priority=sla.priority,
        latency_p99_max_nanoseconds=None if latency is None else nanoseconds(latency, "latency_p99_max"),
    )


def start_as(code: int, field: str = "start_as") -> ApplicationState:
    """Return how an application is to be begun: running, unless told otherwise.

    Raises:
        InvalidField: nothing is begun so.

    """
    state = ApplicationState(code) if code in set(ApplicationState) else None
    if code == application_pb2.APPLICATION_STATE_UNSPECIFIED:
        return ApplicationState.RUNNING
    if state not in STATES_TO_START_AS:
        raise InvalidField(field, f"nothing begins as {code}; it may be STOPPED, RUNNING or STANDBY")
    return state


def epoch(number: int, field: str = "epoch") -> int:
    """Return an epoch.

    Raises:
        InvalidField: it is negative, or no move could follow it.

    """
    if not 0 <= number <= EPOCH_MAX:
        raise InvalidField(field, f"{number} is outside 0-{EPOCH_MAX}", limit=EPOCH_MAX)
    return number


def state_message(state: ApplicationState) -> application_pb2.ApplicationState.ValueType:
    """Return how an application is as it is sent: the numbers are the same."""
    return application_pb2.ApplicationState.ValueType(int(state))


def state_record(code: int, field: str = "status.state") -> ApplicationState:
    """Return how an application is.

    Raises:
        InvalidField: nobody knows such a state.

    """
    try:
        return ApplicationState(code)
    except ValueError as error:
        raise InvalidField(field, f"{code} is no state of an application") from error


def running_status(running: Running) -> application_pb2.ApplicationStatus:
    """Return the status of an application found running; what else is known is added by the caller."""
    state = ApplicationState.STANDBY if running.standby else ApplicationState.RUNNING
    return application_pb2.ApplicationStatus(
        state=state_message(state),
        held=amounts_codec.to_message(running.held),
        epoch=running.epoch,
        processes=running.processes,
    )


def phase_message(phase: Phase) -> adjustment_pb2.AdjustmentPhase.ValueType:
    """Return how an adjustment ended as it is sent: one more, as 0 means never sent."""
    return adjustment_pb2.AdjustmentPhase.ValueType(int(phase) + 1)


def phase_record(code: int, field: str = "phase") -> Phase:
    """Return how an adjustment ended.

    Raises:
        InvalidField: none ends so.

    """
    try:
        return Phase(code - 1)
    except ValueError as error:
        raise InvalidField(field, f"{code} is no end of an adjustment") from error


def _command(message: application_pb2.ApplicationSpec) -> tuple[str, ...]:
    checked_count("command", len(message.command), COMMAND_WORDS_MAX, "words")
    return tuple(checked_text("command", word, TEXT_BYTES_MAX) for word in message.command)


def _environment(message: application_pb2.ApplicationSpec) -> dict[str, str]:
    checked_count("environment", len(message.environment), ENVIRONMENT_MAX, "variables")
    for name, value in message.environment.items():
        if VARIABLE.fullmatch(name) is None:
            raise InvalidField("environment", f"{name[:128]!r} is no name of a variable; use A-Z, 0-9 and _")
        checked_text("environment", value, TEXT_BYTES_MAX)
    return dict(message.environment)


def _folder(path: str) -> str:
    if path and not path.startswith("/"):
        raise InvalidField("working_folder", f"{path[:128]!r} is no whole path; begin it with '/'")
    return checked_text("working_folder", path, TEXT_BYTES_MAX)


def _ports(message: application_pb2.ApplicationSpec) -> tuple[int, ...]:
    checked_count("ports", len(message.ports), PORTS_MAX, "ports")
    if len(set(message.ports)) != len(message.ports):
        raise InvalidField("ports", "a port stands there twice; give each once")
    return tuple(message.ports)


def _amounts(field: str, message: amounts_pb2.Amounts) -> Amounts:
    with in_field(field):
        return amounts_codec.to_record(message)


def _sla(message: application_pb2.Sla) -> Sla:
    with in_field("sla"):
        latency = None
        if message.HasField("latency_p99_max_nanoseconds"):
            latency = duration(message.latency_p99_max_nanoseconds, "latency_p99_max_nanoseconds")
        return Sla(
            violation_rate=message.violation_rate if message.violation_rate != 0 else VIOLATION_RATE,
            latency_p99_max_seconds=latency,
            priority=message.priority,
        )


def _server(name: str) -> str:
    if not name:
        return ""
    with in_field("server"):
        return checked_name("a server", name)


def _state_bytes(count: int) -> int:
    if not 0 <= count <= STATE_BYTES_MAX:
        raise InvalidField(
            "state_bytes", f"{count} is outside 0-{STATE_BYTES_MAX}; 0 where unknown", limit=STATE_BYTES_MAX
        )
    return count


def _restart(code: int) -> Restart:
    found = RESTARTS.get(code)  # type: ignore[call-overload] # an open enum: any number may come
    if found is None:
        raise InvalidField("restart", f"{code} is no way to restart; send ON_FAILURE or NEVER")
    return found
