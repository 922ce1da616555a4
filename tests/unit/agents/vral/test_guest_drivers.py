"""The protocol's contract: the Python and the C driver against the real server, over Unix sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources

import pytest

PYTHON_ONLY = {"min": "--min", "burst": "--burst", "ttl_seconds": "--ttl", "class": "--class"}


class PythonDriver:
    """The file as it would be copied into a guest: run by itself, with nothing of ours on the path."""

    def __init__(self, tmp_path):
        self.file = tmp_path / "copied.py"
        self.file.write_bytes(resources.files("tidegate.guest").joinpath("tidegate_vral.py").read_bytes())

    def __call__(self, channel, *words, **fields):
        options = []
        for name, value in fields.items():
            option = PYTHON_ONLY.get(name, f"--{name.replace('_', '-')}")
            options += [option] if value == "true" else [option, value]
        command = [sys.executable, "-I", self.file, "--channel", channel, *words, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        said = [json.loads(line) for line in (done.stdout or done.stderr).splitlines() if line[:1] == "{"]
        return done.returncode, said


class CDriver:
    """The program for guests without Python."""

    def __init__(self, binary):
        self.binary = binary

    def __call__(self, channel, *words, **fields):
        pairs = [f"{name}={value}" for name, value in fields.items()]
        command = [self.binary, channel, *words, *pairs]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, [one for line in said for one in self._meant(line)]

    @staticmethod
    def _meant(line):
        """What the Python driver prints of the same answer."""
        if "leases" in line:
            return line["leases"]
        return [line.get("lease", line) if line.get("ok") else line.get("error", line)]


@pytest.fixture(params=["python", "c"])
def drive(request, tmp_path):
    if request.param == "python":
        return PythonDriver(tmp_path)
    return CDriver(request.getfixturevalue("c_driver"))


@pytest.fixture
def channel(host):
    return str(host.socket("a"))


def test_says_hello(drive, channel):
    code, (said,) = drive(channel, "hello")
    assert (code, said["versions"], said["kinds"]) == (0, [1], ["cpu", "memory"])


def test_claims_lists_renews_and_releases(drive, channel):
    code, (lease,) = drive(channel, "claim", "cpu", "1.5", min="0.5", burst="2", ttl_seconds="30")
    assert code == 0
    expected = {"kind": "cpu", "amount": 1.5, "min": 0.5, "burst": 2.0, "short": 0.0, "health": "healthy"}
    assert expected.items() <= lease.items()
    assert 0 < lease["expires_in_seconds"] <= 30
    assert drive(channel, "list")[1][0]["lease"] == lease["lease"]
    code, (renewed,) = drive(channel, "renew", lease["lease"], wanted="1", ttl_seconds="90")
    assert (code, renewed["amount"], renewed["expires_in_seconds"]) == (0, 1.0, 90.0)
    assert drive(channel, "release", lease["lease"])[0] == 0
    assert drive(channel, "release", lease["lease"])[0] == 0
    assert drive(channel, "list") == (0, [])


def test_failure_is_an_exit_code_and_a_named_shortfall(drive, channel):
    code, (error,) = drive(channel, "claim", "cpu", "5")
    assert (code, error["code"], error["kind"], error["missing"]) == (1, "short", "cpu", 1.0)


def test_constraints_and_classes_are_passed_on(drive, channel, host):
    code, _ = drive(channel, "claim", "cpu", "1", near="true", may_be_slower="true", **{"class": "1"})
    (lease,) = host.vral.desk.leases
    assert (code, lease.claim.near, lease.claim.may_be_slower, lease.claim.priority) == (0, True, True, 1)


def test_what_the_host_does_not_know_is_refused_with_its_field(drive, channel):
    code, (error,) = drive(channel, "claim", "time", "1")
    assert (code, error["code"], error["field"]) == (1, "invalid", "kind")


def test_a_lease_it_has_not_is_not_found(drive, channel):
    code, (error,) = drive(channel, "renew", "lease-77")
    assert (code, error["code"]) == (1, "not_found")


def test_watches_for_a_while(drive, channel):
    assert drive(channel, "watch", "0.2")[0] == 0


def test_measures_its_claims(drive, channel):
    if isinstance(drive, CDriver):
        command = [drive.binary, channel, "time", "20", "cpu", "0.5"]
        said = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    else:
        code, (said,) = drive(channel, "time", "20", "cpu", "0.5")
        assert code == 0
    assert said["claims"] == 20
    assert 0 < said["p50_ms"] <= said["p99_ms"] <= said["max_ms"]


def test_wrong_words_and_no_channel_have_their_own_codes(drive, channel, tmp_path):
    assert drive(channel, "dance")[0] == 2
    assert drive(str(tmp_path / "nothing"), "hello")[0] == 3
