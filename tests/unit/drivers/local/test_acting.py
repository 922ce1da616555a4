"""What the server of this machine does when it may act: set, read back, give back, refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.drivers.local.server import release
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.plan import Kind
from tidegate.model.roster import CARD, HOST
from tidegate.testing.check_driver import resized

GIB = 2**30
CPU, STORAGE = 0, 3


def acting(fake, **options):
    fake.cgroup("web")
    server = fake.server(**({"act": ["web"]} | options))
    return server, server.read()


def outcome_of(server, actions):
    server.submit(actions)
    outcome = server.collect()
    assert len(outcome) == len(actions)
    return outcome


def test_a_resize_is_written_read_back_and_held(fake):
    server, snapshot = acting(fake)
    outcome = outcome_of(server, resized(snapshot, 0.3))
    assert outcome.phase.tolist() == [Phase.APPLIED, Phase.APPLIED]
    assert fake.quota("web") == "120000"
    assert outcome.amount_read_back.tolist() == [np.float32(1.2), np.float32(0.3) * np.float32(16 * GIB)]
    after = server.read()
    assert after.grant[HOST, :2, 0].tolist() == outcome.amount_read_back.tolist()
    np.testing.assert_array_equal(after.capacity, snapshot.capacity)
    server.close()


def test_what_was_sold_stays_the_owners_own_limit_after_it_was_changed(fake):
    fake.cgroup("web")
    fake.set_quota("web", 200_000)
    server = fake.server(act=["web"])
    outcome_of(server, resized(server.read(), 0.25))
    assert fake.quota("web") == "50000"
    assert server.read().capacity[CPU, 0] == 2.0
    fake.set_quota("web", 300_000)  # the owner again
    snapshot = server.read()
    assert (snapshot.capacity[CPU, 0], snapshot.grant[HOST, CPU, 0]) == (3.0, 3.0)
    server.close()


def test_closing_gives_the_owners_settings_back(fake):
    server, snapshot = acting(fake)
    with server:
        outcome_of(server, resized(snapshot, 0.5))
        assert fake.quota("web") == "200000"
    assert fake.quota("web") == ("-1" if fake.version == 1 else "max")
    assert not fake.ledger.exists()
    assert server.close().restored == ()
    assert outcome_of(server, resized(snapshot, 0.5)).phase.tolist() == [Phase.REFUSED] * 2


def crashed(server):
    """Leave as a killed process does: nothing given back, its lock dropped by the kernel."""
    server._ledger.close()
    server._ledger = None


@pytest.mark.parametrize("act", [(), ("web",)])
def test_the_next_start_gives_back_what_a_crash_left(fake, act):
    server, snapshot = acting(fake)
    outcome_of(server, resized(snapshot, 0.5))
    crashed(server)
    again = fake.server(act=act)
    assert set(again.released.restored) == {str(fake.quota_file("web")), str(fake.soft_file("web"))}
    assert fake.quota("web") in {"-1", "max"}
    again.close()


def test_release_gives_back_what_a_crash_left(fake):
    server, snapshot = acting(fake)
    outcome_of(server, resized(snapshot, 0.5))
    crashed(server)
    assert len(release(fake.ledger, root=fake.root).restored) == 2
    assert release(fake.ledger, root=fake.root).restored == ()


def test_only_one_may_act_at_a_time_and_others_observe(fake):
    server, _ = acting(fake)
    with pytest.raises(InputError, match="stop that one first"):
        fake.server(act=["web"])
    server.submit(resized(server.read(), 0.5))
    observer = fake.server()
    assert "is changing limits" in observer.unreleased
    assert observer.read().used.shape == (4, 1)
    assert fake.quota("web") == "200000"
    server.close()


def test_observing_refuses_everything_and_makes_no_file(fake):
    server, snapshot = acting(fake, act=())
    outcome = outcome_of(server, resized(snapshot, 0.5))
    assert outcome.phase.tolist() == [Phase.REFUSED] * 2
    np.testing.assert_array_equal(outcome.amount_read_back, snapshot.grant[HOST, :2, 0])
    assert fake.quota("web") in {"-1", "max"}
    assert not fake.ledger.parent.exists()


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda actions: replace(actions, kind=np.full_like(actions.kind, Kind.REHOME)),
        lambda actions: replace(actions, share=np.full_like(actions.share, CARD)),
        lambda actions: replace(actions, resource_row=np.full_like(actions.resource_row, STORAGE)),
        lambda actions: replace(actions, workload_id=actions.workload_id + 1),
        lambda actions: replace(actions, expires_seconds=actions.time_seconds - 1),
        lambda actions: replace(actions, amount_to=np.full_like(actions.amount_to, np.nan)),
    ],
    ids=["rehome", "card", "storage", "stranger", "expired", "nan"],
)
def test_what_may_not_be_done_is_refused(fake, spoiled):
    server, snapshot = acting(fake)
    outcome = outcome_of(server, spoiled(resized(snapshot, 0.5)))
    assert outcome.phase.tolist() == [Phase.REFUSED] * 2
    assert fake.quota("web") in {"-1", "max"}
    server.close()


def test_who_was_not_named_is_left_alone(fake):
    fake.cgroup("batch", pids=(102,))
    server, snapshot = acting(fake)
    outcome = outcome_of(server, resized(snapshot, 0.5))
    applied = {int(one) for one in outcome.workload_id[outcome.phase == Phase.APPLIED]}
    assert applied == {int(snapshot.roster.ids[1])}
    assert fake.quota("batch") in {"-1", "max"}
    server.close()


def test_a_cgroup_that_went_away_refuses_and_takes_nobody_with_it(fake):
    fake.cgroup("batch", pids=(102,))
    server, snapshot = acting(fake, act=["*"])
    fake.remove("batch")
    outcome = outcome_of(server, resized(snapshot, 0.5))
    by_id = dict(zip(outcome.workload_id.tolist(), outcome.phase.tolist(), strict=True))
    assert [by_id[int(one)] for one in snapshot.roster.ids] == [Phase.REFUSED, Phase.APPLIED]
    server.close()


def test_a_name_that_is_no_text_is_observed_and_left_alone(fake):
    fake.cgroup("odd-\udcff")
    server, snapshot = acting(fake, act=["*"])
    assert snapshot.roster.names[0] == "odd-\udcff"
    outcome = outcome_of(server, resized(snapshot, 0.5))
    by_id = dict(zip(outcome.workload_id.tolist(), outcome.phase.tolist(), strict=True))
    assert [by_id[int(one)] for one in snapshot.roster.ids] == [Phase.REFUSED, Phase.APPLIED]
    server.close()


def test_acting_without_cgroups_says_what_to_do(tmp_path, fake):
    fake.write("proc/self/mounts", "")
    with pytest.raises(InputError, match="leave out what to act on"):
        fake.server(act=["web"])
