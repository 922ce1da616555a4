"""The owner's settings come back: after any end of the process, unless the owner changed them since."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.local import acting, ledger
from tidegate.drivers.local.acting import LimitSetter, Wish
from tidegate.drivers.local.ledger import Change, Ledger, Released, release
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import Phase
from tidegate.model.resources import Resource

BOOT = "boot-1"
GIB = 2**30


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def wish(path="web", resource=Resource.CPU, amount=1.0, capacity=4.0):
    return Wish(path=path, resource=resource, amount=amount, capacity=capacity)


@pytest.fixture
def setter(fake):
    """A setter on a machine with two cgroups, one of which its owner limited."""
    fake.cgroup("web")
    fake.cgroup("database")
    fake.set_quota("database", 150_000, period=50_000)
    fake.set_soft("database", GIB)
    book = Ledger(fake.ledger, boot=BOOT)
    yield LimitSetter(find_hierarchy(fake.root), book)
    book.close()


def settings(fake):
    return {
        str(file): file.read_text().strip()
        for path in ("web", "database")
        for file in (fake.quota_file(path), fake.soft_file(path))
    }


WISHES = [
    [wish(amount=1.0), wish(path="database", amount=0.5, capacity=3.0)],
    [wish(resource=Resource.MEMORY, amount=5e8, capacity=16.0 * GIB), wish(amount=0.7)],
    [wish(amount=4.0), wish(path="database", resource=Resource.MEMORY, amount=2e8, capacity=1.0 * GIB)],
]

STEPS = 9
"""Writes of ledger and settings that these wishes take: three and six."""


def test_before_a_setting_is_written_its_owners_value_is_in_the_ledger(fake, setter, monkeypatch):
    seen = []

    def spy(file, text):
        entry = json.loads(fake.ledger.read_text())["entries"][file]
        seen.append((entry["original"], text in entry["ours"]))

    monkeypatch.setattr(acting, "write_text", spy)
    originals = settings(fake)
    setter.apply([wish(), wish(path="database", amount=0.5, capacity=3.0)])
    assert seen == [
        (originals[str(fake.quota_file("web"))], True),
        (originals[str(fake.quota_file("database"))], True),
    ]


@pytest.mark.parametrize("effect", ["before", "after"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_whenever_the_process_is_killed_the_owners_values_come_back(fake, setter, monkeypatch, effect, step):
    originals = settings(fake)
    steps = 0

    def mortal(function):
        def until_killed(*arguments):
            nonlocal steps
            steps += 1
            if steps == step and effect == "before":
                raise Killed
            function(*arguments)
            if steps == step:
                raise Killed

        return until_killed

    with monkeypatch.context() as patched:
        patched.setattr(acting, "write_text", mortal(acting.write_text))
        patched.setattr(ledger, "write_whole", mortal(ledger.write_whole))
        with pytest.raises(Killed):
            [setter.apply(wishes) for wishes in WISHES]
    setter._ledger.close()  # the kernel drops a dead process's lock
    setter._ledger = Ledger(fake.ledger, boot=BOOT)
    released = setter._ledger.restore()
    assert settings(fake) == originals
    assert released.left == ()
    assert not fake.ledger.exists()


def test_the_steps_that_are_killed_above_are_all_there_are(setter, monkeypatch):
    steps = []
    for module, name in ((acting, "write_text"), (ledger, "write_whole")):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, function=function: steps.append(function(*given)))
    for wishes in WISHES:
        setter.apply(wishes)
    assert len(steps) == STEPS


def test_putting_back_may_itself_be_killed_and_done_again(fake, setter, monkeypatch):
    originals = settings(fake)
    setter.apply(WISHES[0])
    write, calls = ledger.write_text, []

    def killed_at_the_second(file, text):
        calls.append(file)
        if len(calls) == 2:
            raise Killed
        write(file, text)

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "write_text", killed_at_the_second)
        with pytest.raises(Killed):
            setter._ledger.restore()
    assert settings(fake) != originals
    setter._ledger.restore()
    assert settings(fake) == originals


def test_what_the_owner_changed_since_is_left_and_told(fake, setter):
    setter.apply(WISHES[0])
    fake.set_quota("web", 333_000)
    released = setter._ledger.restore()
    assert released.left == (str(fake.quota_file("web")),)
    assert fake.quota("web") == "333000"
    assert released.restored == (str(fake.quota_file("database")),)


def test_what_the_owner_changed_between_two_of_our_changes_comes_back(fake, setter):
    setter.apply([wish(amount=1.0)])
    fake.set_quota("web", 333_000)
    setter.apply([wish(amount=2.0)])
    assert fake.quota("web") == "200000"
    setter._ledger.restore()
    assert fake.quota("web") == "333000"


def test_a_cgroup_that_is_gone_is_skipped(fake, setter):
    setter.apply(WISHES[0])
    fake.remove("web")
    released = setter._ledger.restore()
    assert released.gone == (str(fake.quota_file("web")),)
    assert not fake.ledger.exists()


def test_a_ledger_of_an_earlier_boot_is_discarded(fake, setter):
    setter.apply([wish(amount=1.0)])
    setter._ledger.close()
    try:
        assert release(fake.ledger, boot="boot-2") == Released(discarded=(str(fake.ledger),))
        assert fake.quota("web") == "100000"
        assert not fake.ledger.exists()
    finally:
        setter._ledger = Ledger(fake.ledger, boot=BOOT)


def test_without_a_ledger_nothing_is_released_and_nothing_made(tmp_path):
    assert release(tmp_path / "none/limits.json", boot=BOOT) == Released()
    assert list(tmp_path.iterdir()) == []


def test_while_another_process_holds_it_nobody_else_may(fake, setter):
    setter.apply([wish(amount=1.0)])
    with pytest.raises(InputError, match=f"process {os.getpid()} is changing limits"):
        release(fake.ledger, boot=BOOT)
    with pytest.raises(InputError, match="stop that one first"):
        Ledger(fake.ledger, boot=BOOT)
    assert fake.quota("web") == "100000"


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "limits.json"
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from tidegate.drivers.local.ledger import Ledger;"
        "kept = Ledger(Path(sys.argv[1]), boot='boot-1'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=30)
    assert done.returncode == -9
    Ledger(path, boot=BOOT).close()


@pytest.mark.parametrize("text", ["", "{", '{"boot": 3}', '{"boot": "boot-1", "pid": 1, "entries": 7}'])
def test_a_file_that_is_no_ledger_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "limits.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is no ledger"):
        release(path, boot=BOOT)
    assert path.read_text() == text


def test_a_ledger_that_names_another_kind_of_file_is_refused(tmp_path):
    victim = tmp_path / "passwd"
    victim.write_text("ours")
    path = tmp_path / "limits.json"
    entries = {str(victim): {"original": "broken", "ours": ["ours"]}}
    path.write_text(json.dumps({"boot": BOOT, "pid": 1, "entries": entries}))
    with pytest.raises(InputError, match="no limit of a cgroup"):
        release(path, boot=BOOT)
    assert victim.read_text() == "ours"


def test_a_value_the_kernel_refuses_stays_in_the_ledger_and_is_told(fake, setter, monkeypatch):
    setter.apply(WISHES[0])
    write = ledger.write_text

    def refuse_web(file, text):
        if file == str(fake.quota_file("web")):
            raise OSError(22, "Invalid argument")
        write(file, text)

    monkeypatch.setattr(ledger, "write_text", refuse_web)
    with pytest.raises(TidegateError, match="set it by hand"):
        setter._ledger.restore()
    assert list(json.loads(fake.ledger.read_text())["entries"]) == [str(fake.quota_file("web"))]
    monkeypatch.undo()
    setter._ledger.restore()
    assert not fake.ledger.exists()


def test_a_value_refused_until_the_one_above_is_back_is_tried_again(fake, setter, monkeypatch):
    originals = settings(fake)
    setter.apply(WISHES[0])
    write, order = ledger.write_text, []

    def web_only_after_database(file, text):
        if file == str(fake.quota_file("web")) and str(fake.quota_file("database")) not in order:
            raise OSError(22, "Invalid argument")
        order.append(file)
        write(file, text)

    monkeypatch.setattr(ledger, "write_text", web_only_after_database)
    setter._ledger.restore()
    assert settings(fake) == originals


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name another file"):
        Ledger(tmp_path / "file/limits.json", boot=BOOT)


def test_the_ledger_is_for_its_owners_eyes(fake, setter):
    setter._ledger.note([Change(file=str(fake.quota_file("web")), before="-1", after="100000")])
    assert fake.ledger.stat().st_mode & 0o777 == 0o600


def test_granting_all_that_was_sold_gives_the_owners_text_back(fake, setter):
    originals = settings(fake)
    setter.apply(WISHES[0])
    done = setter.apply([wish(amount=4.0), wish(path="database", amount=3.0, capacity=3.0)])
    assert [answer.phase for answer in done] == [Phase.APPLIED, Phase.APPLIED]
    assert settings(fake) == originals


def test_of_two_wishes_for_one_setting_the_second_is_refused(fake, setter):
    done = setter.apply([wish(amount=1.0), wish(amount=2.0)])
    assert [answer.phase for answer in done] == [Phase.APPLIED, Phase.REFUSED]
    assert fake.quota("web") == "100000"


def test_less_than_the_kernel_allows_is_partial_with_the_value_read_back(fake, setter):
    done = setter.apply([wish(amount=0.001)])
    assert (done[0].phase, done[0].amount) == (Phase.PARTIAL, 0.01)
    assert fake.quota("web") == "1000"


def test_what_the_kernel_refuses_is_refused_with_the_value_that_holds(fake, setter, monkeypatch):
    def refuse(file, text):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(acting, "write_text", refuse)
    done = setter.apply([wish(path="database", amount=0.5, capacity=3.0)])
    assert (done[0].phase, done[0].amount) == (Phase.REFUSED, 3.0)


def test_a_soft_limit_below_what_is_in_use_is_refused_unless_it_grows(fake, setter):
    mib = 2**20
    fake.use("web", memory=600 * mib, inactive=100 * mib)
    memory = {"resource": Resource.MEMORY, "capacity": 16.0 * GIB}
    assert setter.apply([wish(amount=499.0 * mib, **memory)])[0].phase == Phase.REFUSED
    assert setter.apply([wish(amount=501.0 * mib, **memory)])[0].phase == Phase.APPLIED
    fake.use("web", memory=2048 * mib)
    assert setter.apply([wish(amount=700.0 * mib, **memory)])[0].phase == Phase.APPLIED


@pytest.mark.parametrize("amount", [float("nan"), -1.0, float("inf")])
def test_an_amount_that_means_nothing_is_refused(fake, setter, amount):
    assert setter.apply([wish(amount=amount)])[0].phase == Phase.REFUSED
    assert not fake.ledger.exists()
