"""The core's records as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.agents.device.budgeting import LAPSE_SECONDS, has_lapsed
from tidegate.agents.device.curve import fitted
from tidegate.agents.device.records import MigrationPhase, Strategy
from tidegate.agents.device.room import allocated, amounts, overfull
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.links import PATIENCE_SECONDS
from tidegate.plan.cards.moves import HANDOFF_PAUSE_SECONDS, RESTART_PAUSE_SECONDS
from tidegate.wire import amounts as amounts_codec
from tidegate.wire import applications as applications_codec
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    amounts_pb2,
    application_pb2,
    card_pb2,
    migration_pb2,
    profiling_pb2,
)
from tidegate.wire.clocks import nanoseconds
from tidegate.wire.names import AdjustmentName, ApplicationName, MigrationName, card_name, profile_name

if TYPE_CHECKING:
    from tidegate.agents.device.profiling import Learned
    from tidegate.agents.device.records import Adjustment, Application, Migration, Profile
    from tidegate.agents.device.samples import Sample
    from tidegate.agents.device.services.device import Device
    from tidegate.model.application import Running
    from tidegate.model.links import LinkTelemetry

MILLIS: Final = 1000
TRUE, FALSE = amounts_pb2.TRUTH_TRUE, amounts_pb2.TRUTH_FALSE


def card_message(device: Device) -> card_pb2.Card:
    """Return the card as it is now."""
    card = device.card
    with card.lock:
        applications = list(card.applications.values())
        settings, trouble, unwell = card.settings, device.tending.trouble, device.tending.unwell
        over = overfull(card.room, applications)
        used: dict[str, float] = {}
        for one in applications:
            latest = device.profiling.latest(one.name)
            for name, amount in ({} if latest is None or not one.runs else latest.used.known()).items():
                used[name] = used.get(name, 0.0) + amount
    draining = settings.draining
    excess = "; ".join(f"{name} is {amount:g} over" for name, amount in over.items())
    known = card.room.allocatable.known()
    kept = {name: amount for name, amount in allocated(applications).items() if amount or name in known}
    phase = card_pb2.CARD_PHASE_DEGRADED if trouble or over else card_pb2.CARD_PHASE_READY
    return card_pb2.Card(
        name=card_name(card.name),
        spec=card_pb2.CardSpec(service=card_pb2.SERVICE_DRAINING if draining else card_pb2.SERVICE_IN),
        status=card_pb2.CardStatus(
            phase=card_pb2.CARD_PHASE_DRAINING if draining else phase,
            capacity=amounts_codec.to_message(card.room.capacity),
            system_reserved=amounts_codec.to_message(card.room.reserved),
            allocatable=amounts_codec.to_message(card.room.allocatable),
            allocated=amounts_codec.to_message(amounts(kept)),
            used=amounts_codec.to_message(amounts(used)),
            conditions=[
                amounts_pb2.Condition(type="Ready", truth=FALSE if trouble else TRUE, message=trouble),
                amounts_pb2.Condition(
                    type="ApplicationsReady", truth=FALSE if unwell else TRUE, message=unwell
                ),
                amounts_pb2.Condition(type="ResourceFitting", truth=FALSE if over else TRUE, message=excess),
            ],
            architecture=device.architecture,
            servers=[
                card_pb2.ServerStatus(
                    server=one.server,
                    score=one.score,
                    reason=one.reason,
                    workloads=one.workloads,
                    heard_nanoseconds=one.heard_nanoseconds,
                    lost=one.lost,
                )
                for one in device.outlook.servers
            ],
            links=[link_message(one) for one in device.ways()],
            probe_address=device.probe_address,
            state_version=settings.state_version,
            core_worth_millis=round(device.core_worth * MILLIS),
        ),
        etag=str(settings.draining_revision),
    )


def link_message(link: LinkTelemetry) -> card_pb2.LinkStatus:
    """Return a link; one of which nothing came back is as late as the patience with probes."""
    late = PATIENCE_SECONDS if link.latency_seconds is None else link.latency_seconds
    return card_pb2.LinkStatus(
        peer=link.peer,
        latency_nanoseconds=nanoseconds(late),
        jitter_nanoseconds=nanoseconds(link.jitter_seconds or 0.0),
        loss_ratio=link.loss_ratio,
        capacity_bytes_per_second=link.capacity_bytes_per_second,
        used_bytes_per_second=link.used_bytes_per_second,
        measured_nanoseconds=nanoseconds(max(link.measured_seconds, 0.0)),
        capacity_from=card_pb2.CapacityFrom.ValueType(int(link.capacity_from or 0)),
        headroom_bytes_per_second=link.headroom_bytes_per_second,
        uses=[
            card_pb2.LinkUse(
                consumer=card_pb2.LinkConsumer.ValueType(int(use.consumer)),
                about=use.about,
                received_bytes_per_second=round(use.received_bytes_per_second),
                sent_bytes_per_second=round(use.sent_bytes_per_second),
            )
            for use in link.uses
        ],
    )


def application_message(device: Device, one: Application) -> application_pb2.Application:
    """Return an application as it is now, or was when a request was answered."""
    card = device.card
    latest = device.profiling.latest(one.name) if one.runs else None
    found = device.tending.found.get(one.name) if one.runs else None
    runs = one.state in {ApplicationState.RUNNING, ApplicationState.RELEASING}
    latency = None if latest is None else latest.latency_p99_seconds
    enough = device.profiling.cpu_cores_for_sla(one)
    return application_pb2.Application(
        name=str(ApplicationName(card.name, one.name)),
        spec=applications_codec.spec_message(one.spec),
        status=application_pb2.ApplicationStatus(
            state=applications_codec.state_message(one.state),
            held=amounts_codec.to_message(one.held if one.runs else one.amounts),
            used=amounts_codec.to_message(Amounts() if latest is None else latest.used),
            epoch=one.epoch,
            processes=0 if found is None else found.processes,
            restarts=one.restarts,
            addresses=card.addresses(one),
            latency_p99_nanoseconds=None if latency is None else nanoseconds(latency),
            expected=amounts_codec.to_message(device.outlook.of(one.name) if one.runs else Amounts()),
            cpu_millis_for_sla=None if enough is None else round(enough * MILLIS),
            throttled_ratio=0.0 if latest is None else min(latest.throttled_seconds / latest.seconds, 1.0),
            conditions=[
                amounts_pb2.Condition(
                    type="Ready",
                    truth=TRUE if runs else FALSE,
                    message=one.failure,
                    changed_nanoseconds=one.changed_nanoseconds,
                ),
                *_listening(one, found),
                *_budget_conditions(one, card.now()),
            ],
        ),
        etag=one.etag,
    )


def _listening(one: Application, found: Running | None) -> list[amounts_pb2.Condition]:
    """Return whether one on standby would take a state in; nothing of others."""
    if one.state is not ApplicationState.STANDBY or found is None:
        return []
    said = "" if found.listens else "its program is still being loaded"
    truth = TRUE if found.listens else FALSE
    return [amounts_pb2.Condition(type=applications_codec.LISTENING, truth=truth, message=said)]


def _budget_conditions(one: Application, now_nanoseconds: int) -> list[amounts_pb2.Condition]:
    """Return whether the budget it was given holds; nothing where it was given none."""
    if not one.spec.budget.known():
        return []
    lapsed = has_lapsed(one, now_nanoseconds)
    told = (
        f"its budget was not told again for {LAPSE_SECONDS:g} s and holds no more: it may hold up to its "
        "ceiling; see that the fleet manager runs"
    )
    return [
        amounts_pb2.Condition(
            type="BudgetFresh", truth=FALSE if lapsed else TRUE, message=told if lapsed else ""
        )
    ]


def adjustment_message(device: Device, one: Adjustment) -> adjustment_pb2.Adjustment:
    """Return an adjustment."""
    return adjustment_pb2.Adjustment(
        name=str(AdjustmentName(device.card.name, one.application, one.id)),
        requested=amounts_codec.to_message(one.requested),
        accepted=amounts_codec.to_message(one.accepted),
        applied=amounts_codec.to_message(one.applied),
        phase=applications_codec.phase_message(one.phase),
        reason=one.reason,
        requested_nanoseconds=one.requested_nanoseconds,
        expires_nanoseconds=one.expires_nanoseconds,
        state_version=one.state_version,
    )


def expected_pause_seconds(device: Device, one: Migration) -> float:
    """Return how long nobody is expected to serve while it moves; 0 where it has ended, or nobody knows."""
    if one.ended:
        return 0.0
    if one.strategy is not Strategy.HANDOFF:
        return RESTART_PAUSE_SECONDS
    way = device.way_to(one.target)
    if way is None or way.headroom_bytes_per_second is None:
        return 0.0
    mine = sum(use.sent_bytes_per_second for use in way.uses if use.about == one.application)
    left = way.headroom_bytes_per_second + mine  # what it sends itself is not in its way
    if not left:
        return 0.0
    known = device.card.applications.get(one.application)
    state_bytes = one.bytes_total or (0 if known is None else known.spec.state_bytes)
    return HANDOFF_PAUSE_SECONDS + state_bytes / left


def migration_message(device: Device, one: Migration) -> migration_pb2.Migration:
    """Return a migration."""
    strategy = migration_pb2.Strategy.ValueType(int(one.strategy))
    return migration_pb2.Migration(
        name=str(MigrationName(device.card.name, one.id)),
        spec=migration_pb2.MigrationSpec(
            application=str(ApplicationName(device.card.name, one.application)),
            target=card_name(one.target),
            target_address=one.target_address,
            strategy=strategy,
            epoch=one.epoch,
            reason=one.reason,
        ),
        status=migration_pb2.MigrationStatus(
            phase=migration_pb2.MigrationPhase.ValueType(int(one.phase)),
            reason=one.why,
            bytes_total=one.bytes_total,
            bytes_moved=one.bytes_moved,
            pause_nanoseconds=one.pause_nanoseconds,
            began_nanoseconds=one.began_nanoseconds,
            ended_nanoseconds=one.ended_nanoseconds,
            strategy=strategy,
            expected_pause_nanoseconds=nanoseconds(expected_pause_seconds(device, one)),
        ),
    )


def strategy_record(code: int) -> Strategy | None:
    """Return how something is to be moved; None leaves it to the device."""
    return Strategy(code) if code in set(Strategy) else None


def has_ended(message: migration_pb2.Migration) -> bool:
    """Whether a migration goes on no more."""
    return int(message.status.phase) >= MigrationPhase.SUCCEEDED


def profile_message(device: Device, one: Profile, learned: Learned | None = None) -> profiling_pb2.Profile:
    """Return a profile, with what was learned where that is known."""
    name = ApplicationName(device.card.name, one.application)
    status = profiling_pb2.ProfileStatus(trying=bool(one.trials_left))
    if learned is not None:
        cpu = learned.cpu_cores_for_sla
        rates = {point.cpu_cores: point.requests_per_second for point in one.curve}
        status = profiling_pb2.ProfileStatus(
            samples=learned.samples,
            latest=None if learned.latest is None else sample_message(device, learned.latest),
            peak=amounts_codec.to_message(learned.peak),
            curve=[
                profiling_pb2.CurvePoint(
                    cpu_millis=round(cores * MILLIS),
                    latency_p99_nanoseconds=nanoseconds(latency),
                    requests_per_kilosecond=round(rates[cores] * 1000),
                )
                for cores, latency in fitted(one.curve)
            ],
            # Rounded up: a thousandth less would break what was agreed.
            cpu_millis_for_sla=None if cpu is None else -int(-cpu * MILLIS // 1),
            trying=bool(one.trials_left),
        )
    return profiling_pb2.Profile(
        name=profile_name(name),
        spec=profiling_pb2.ProfileSpec(
            interval_nanoseconds=one.interval_nanoseconds,
            tried_cpu_millis=[round(cores * MILLIS) for cores in one.tried_cpu_cores],
            trial_nanoseconds=one.trial_nanoseconds,
        ),
        status=status,
    )


def sample_message(device: Device, one: Sample) -> profiling_pb2.Sample:
    """Return a sample."""
    latency = one.latency_p99_seconds
    return profiling_pb2.Sample(
        application=str(ApplicationName(device.card.name, one.application)),
        time_nanoseconds=one.time_nanoseconds,
        used=amounts_codec.to_message(one.used),
        held=amounts_codec.to_message(one.held),
        cpu_pressure_ratio=one.cpu_pressure_ratio,
        memory_pressure_ratio=one.memory_pressure_ratio,
        storage_pressure_ratio=one.storage_pressure_ratio,
        throttled_nanoseconds=nanoseconds(one.throttled_seconds),
        latency_p99_nanoseconds=None if latency is None else nanoseconds(latency),
        requests=one.requests,
        missed=one.missed,
    )


__all__ = [
    "adjustment_message",
    "application_message",
    "card_message",
    "has_ended",
    "migration_message",
    "profile_message",
    "sample_message",
    "strategy_record",
]
