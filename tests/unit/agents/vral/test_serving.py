"""VRAL end to end: from a guest's socket to what its server holds, and back."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from types import SimpleNamespace

import pytest

from tidegate.agents.vral.channels import OPERATOR_SOCKET, _allow
from tidegate.agents.vral.journal import Journal
from tidegate.agents.vral.remarks import REMARKS_BURST
from tidegate.app.servers import Doors
from tidegate.guest.tidegate_vral import Vral, VralError
from tidegate.lab.bench.vral.flooding import flood
from tidegate.model.errors import InputError


def test_what_is_held_is_leased_at_once(host):
    lease = host.guest("a").claim("cpu", 1.5)
    assert (lease["amount"], lease["health"]) == (1.5, "healthy")


def test_a_lease_is_healthy_only_once_it_was_applied_and_read_back(host):
    guest = host.guest("a")
    assert guest.claim("cpu", 3.5)["health"] == "applying"
    host.driver.obeys = False
    host.step(3)
    assert guest.list()[0]["health"] == "applying"
    host.driver.obeys = True
    host.step(2)
    assert guest.list()[0]["health"] == "healthy"
    assert host.held("a") == 3.5
    assert host.held("b") == 2.0


def test_released_it_is_no_floor_any_more(host):
    guest = host.guest("a")
    lease = guest.claim("cpu", 3.5)
    host.step(2)
    assert host.agent.who.roster.floor[0, 0] == 3.5
    guest.release(lease["lease"])
    guest.release(lease["lease"])
    host.step()
    assert host.agent.who.roster.floor[0, 0] < 3.5
    assert guest.list() == []


def test_an_unchanged_lease_is_no_new_roster(host):
    host.guest("a").claim("cpu", 3.5)
    host.step()
    version = host.agent.who.version
    host.step(3)
    assert host.agent.who.version == version


def test_failure_names_what_is_missing_and_not_where_it_was_looked_for(host):
    with pytest.raises(VralError) as failed:
        host.guest("a").claim("cpu", 6.0)
    assert failed.value.code == "short"
    assert failed.value.error["kind"] == "cpu"
    assert failed.value.error["missing"] == 2.0
    assert "host" not in json.dumps(failed.value.error)
    assert "card" not in json.dumps(failed.value.error)


def test_each_sees_its_own(host):
    a, b = host.guest("a"), host.guest("b")
    lease = a.claim("cpu", 1.0)
    assert b.list() == []
    with pytest.raises(VralError) as refused:
        b.release(lease["lease"])
    assert refused.value.code == "not_found"


def test_the_operator_sees_everyones_and_where_it_is_served(host):
    host.guest("a").claim("cpu", 1.0)
    operator = host.stack.enter_context(Vral(str(host.folder / "v" / OPERATOR_SOCKET)))
    operator.claim("memory", 1.0, vm="b")
    assert [(one["vm"], one["served"]) for one in operator.list()] == [
        ("a", {"host": 1.0}),
        ("b", {"host": 1.0}),
    ]
    with pytest.raises(VralError, match="vm must be named here"):
        operator.claim("memory", 1.0)


def test_notices_come_to_who_watches(host):
    guest = host.guest("a")
    guest.claim("cpu", 3.5)
    watching = guest.watch(30.0)
    host.stack.callback(watching.close)
    guest.ask("watch", seconds=30.0)
    host.step(2)
    notice = next(watching)
    assert (notice["notice"], notice["lease"]["health"]) == ("healthy", "healthy")


def test_after_a_crash_the_same_leases_hold(make_host):
    host = make_host()
    guest = host.guest("a")
    kept = guest.claim("cpu", 3.5, ttl_seconds=500.0)
    gone = guest.claim("memory", 1.0)
    guest.release(gone["lease"])
    before = host.vral.desk.leases
    journal = host.folder / "v" / "leases.journal"
    as_killed = journal.read_bytes() + b"\x40\0\0\0 half a record"
    host.close()
    journal.write_bytes(as_killed)
    again = make_host(folder=host.folder)
    assert again.vral.desk.leases == before
    again.step(3)
    (lease,) = again.guest("a").list()
    assert (lease["lease"], lease["health"]) == (kept["lease"], "healthy")
    assert again.held("a") == 3.5
    assert again.guest("a").claim("cpu", 0.1)["lease"] not in {kept["lease"], gone["lease"]}


def test_leases_end_with_the_boot(make_host):
    host = make_host()
    host.guest("a").claim("cpu", 1.0)
    host.close()
    assert make_host(folder=host.folder, boot="another").vral.desk.leases == ()


def test_two_agents_do_not_serve_one_folder(host):
    with pytest.raises(InputError, match="another agent serves VRAL"):
        Journal(host.folder / "v", boot="boot")


def test_what_was_not_written_down_is_not_given(host, monkeypatch):
    guest = host.guest("a")
    guest.hello()
    monkeypatch.setattr("tidegate.agents.vral.journal.os.write", _full_disk(host.vral.desk._journal._file))
    with pytest.raises(VralError) as refused:
        guest.claim("cpu", 1.0)
    assert refused.value.code == "not_now"
    assert host.vral.desk.leases == ()


def _full_disk(journal):
    from os import write

    def written(descriptor, data):
        if descriptor == journal:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    return written


def test_a_vm_that_goes_has_no_socket_and_no_lease_in_the_end(host):
    host.guest("b").claim("cpu", 1.0)
    path = host.socket("b")
    driver = host.driver
    names = ("a",)
    roster = type(driver.roster)(
        **{name: getattr(driver.roster, name)[..., :1] for name in ("ids", "violation_rate", "priority")},
        names=names,
        floor=driver.roster.floor[:, :1],
        offloadable_ratio=driver.roster.offloadable_ratio[:, :1],
    )
    driver.roster = roster
    for name in ("capacity", "grant", "used", "settable"):
        setattr(driver, name, getattr(driver, name)[:, :1])
    host.step(2)
    assert len(host.vral.desk.leases) == 1
    host.now += 61
    host.step()
    assert host.vral.desk.leases == ()
    host.wait_for(path, there=False)


def test_a_names_letters_do_not_lead_out_of_the_folder(make_host):
    names = ("../../etc", "x/" * 40, "..", "web 1")
    host = make_host(names)
    for name in names:
        assert host.folder / "v" / "guests" in host.socket(name).resolve().parents
        assert host.guest(name).claim("cpu", 0.5)["amount"] == 0.5


def test_a_vms_port_is_dialled_and_dialled_again_and_is_its_identity(make_host, tmp_path):
    with tempfile.TemporaryDirectory(prefix="tv-") as folder, socket.socket(socket.AF_UNIX) as qemu:
        path = f"{folder}/port"
        qemu.bind(path)
        qemu.listen()
        qemu.settimeout(20)
        host = make_host(doors=Doors(ports={"b": path}))
        for _ in range(2):
            port, _ = qemu.accept()
            with port, port.makefile("rb") as answers:
                port.settimeout(20)
                # Another process in the guest left half a line; ours begins with its end.
                port.sendall(b'{"v":1,"id":"half\n{"v":1,"id":"1","do":"claim","kind":"cpu","wanted":0.5}\n')
                assert json.loads(answers.readline())["error"]["code"] == "not_json"
                assert json.loads(answers.readline())["lease"]["amount"] == 0.5
        (lease,) = host.vral.desk.leases
        assert lease.vm == "b"


def test_who_does_not_read_is_not_answered_further_and_others_are(host):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(host.socket("a")))
        deaf.settimeout(0)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 64 * 2**20:
                sent += deaf.send(b'{"v":1,"id":"1","do":"hello"}\n' * 1000)
        assert sent < 4 * 2**20
        assert host.guest("b").claim("cpu", 1.0)["health"] == "healthy"


def test_a_vms_folder_stays_the_same_over_a_restart_since_it_is_mounted(make_host):
    host = make_host()
    folder = host.socket("a").parent
    before = folder.stat().st_ino
    host.close()
    assert not host.socket("a").exists()
    assert make_host(folder=host.folder).guest("a").hello()
    assert folder.stat().st_ino == before


def test_what_is_put_in_a_sockets_place_is_not_followed(tmp_path):
    secret, path = tmp_path / "secret", tmp_path / "vral.sock"
    secret.touch(mode=0o600)
    path.symlink_to(secret)
    _allow(path, 0o666)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_a_flood_of_everything_wrong_harms_only_its_own_channel(host):
    kept = host.guest("b").claim("cpu", 0.5)
    assert flood(str(host.socket("a")), 0.5, seed=7) > 0
    host.step()
    assert [one["lease"] for one in host.guest("b").list()] == [kept["lease"]]
    assert host.guest("b").claim("memory", 0.5)["health"] == "healthy"
    assert {one.vm for one in host.vral.desk.leases} <= {"a", "b"}


def test_a_log_that_nobody_reads_costs_no_answer(host, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("tidegate.agents.vral.remarks._log", SimpleNamespace(info=gone, error=gone))
    guest = host.guest("a")
    for _ in range(3):
        with pytest.raises(VralError, match="missing"):
            guest.claim("cpu", 6.0)
    monkeypatch.setattr(host.vral.desk, "_leased", gone)
    with pytest.raises(VralError) as failed:
        guest.claim("cpu", 1.0)
    assert failed.value.code == "failed"
    assert guest.list() == []


def test_a_guest_does_not_fill_the_log(host, monkeypatch):
    said = []
    monkeypatch.setattr(
        "tidegate.agents.vral.remarks._log", SimpleNamespace(info=lambda what, **_: said.append(what))
    )
    guest = host.guest("a")
    for _ in range(100):
        with pytest.raises(VralError):
            guest.claim("cpu", 6.0)
    assert len(said) <= REMARKS_BURST + 1


def test_connections_of_one_vm_are_limited(host):
    path = str(host.socket("a"))
    open_ = [host.stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(9)]
    for one in open_:
        one.settimeout(10)
        one.connect(path)
        one.sendall(b'{"v":1,"id":"1","do":"hello"}\n')
    *served, waits = open_
    assert all(one.recv(4096) for one in served)
    waits.settimeout(0.05)
    with pytest.raises(TimeoutError):
        waits.recv(4096)
    served[0].close()
    waits.settimeout(10)
    assert waits.recv(4096)
    assert host.guest("b").hello()["versions"] == [1]
