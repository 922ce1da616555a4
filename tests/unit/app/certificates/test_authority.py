"""An authority's folder: nothing is overwritten or half-written, and what it makes is what its role needs."""

from __future__ import annotations

import stat

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tidegate.app.certificates import Authority, Standing, files, listed, listed_folder
from tidegate.app.certificates.authority import AUTHORITIES_MAX
from tidegate.app.certificates.making import AUTHORITY_DAYS, LEAF_DAYS
from tidegate.model.errors import InputError
from tidegate.testing import ManualClock
from tidegate.wire.certificates import read_certificates
from tidegate.wire.identities import Identity, Role

DAY = 86_400
START = 1_800_000_000


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def authority(tmp_path, clock):
    made = Authority(tmp_path / "certs", clock)
    made.init()
    return made


def contents(folder):
    """Every file below a folder and what it holds, the lock left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != files.LOCK
    }


def standings(authority, clock):
    return {str(one.identity): one.standing for one in listed(authority.folder, clock)}


def test_the_key_of_an_authority_is_its_owner_s_alone(authority):
    mode = stat.S_IMODE((authority.folder / "authority.pem").stat().st_mode)
    assert mode == 0o600
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    assert b"PRIVATE KEY" not in (authority.folder / "ca.pem").read_bytes()


def test_an_authority_is_good_for_ten_years_and_signs_no_other(authority):
    (made,) = x509.load_pem_x509_certificates((authority.folder / "ca.pem").read_bytes())
    assert made.not_valid_after_utc.timestamp() == START + AUTHORITY_DAYS * DAY
    assert made.not_valid_before_utc.timestamp() == START - 3600
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


@pytest.mark.parametrize("role", Role)
def test_a_certificate_says_who_it_is_for_and_only_what_is_asked_may_serve(role, authority):
    folder = authority.issue(role, "one-1")
    held = read_certificates(folder)
    assert held.identity == Identity(role, "one-1")
    assert held.ends_seconds == START + LEAF_DAYS * DAY
    certificate = x509.load_pem_x509_certificate(held.chain)
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert (ExtendedKeyUsageOID.SERVER_AUTH in purposes) == (role in {Role.DEVICE, Role.FLEET})
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"tidegate:{role.value}:one-1"]
    assert names.get_values_for_type(x509.DNSName) == [
        f"one-1.{role.value}.tidegate",
        f"{role.value}.tidegate",
    ]
    assert stat.S_IMODE((folder / "identity.pem").stat().st_mode) == 0o600


def test_nothing_is_overwritten(authority):
    authority.issue(Role.DEVICE, "card-a")
    before = contents(authority.folder)
    for again in (authority.init, lambda: authority.issue(Role.DEVICE, "card-a")):
        with pytest.raises(InputError, match="rotate"):
            again()
    assert contents(authority.folder) == before


@pytest.mark.parametrize("name", ["", "../../x", "a b", "a" * 64, "-x"])
def test_nobody_is_called_what_is_no_name(name, authority):
    with pytest.raises(InputError, match="can't be called"):
        authority.issue(Role.AGENT, name)
    assert not (authority.folder / "issued").exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda made: made.issue(Role.AGENT, "a"),
        lambda made: made.rotate(),
        lambda made: made.rotate_authority(),
        lambda made: made.forget_old(),
        lambda made: made.revoke(Role.AGENT, "a"),
        lambda made: made.opened(),
    ],
)
def test_without_an_authority_nothing_is_made(act, tmp_path, clock):
    with pytest.raises(InputError, match="'tidegate certs init' makes one"):
        act(Authority(tmp_path / "none", clock))
    assert not (tmp_path / "none").exists()


def test_what_can_not_be_written_leaves_nothing(authority, monkeypatch):
    before = contents(authority.folder)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    for act in (lambda: authority.issue(Role.DEVICE, "card-a"), authority.rotate_authority):
        with pytest.raises(InputError, match="No space left"):
            act()
    assert contents(authority.folder) == before
    assert not list(authority.folder.rglob("*.part"))


def test_two_at_once_do_not_mix(authority):
    with files.alone_in(authority.folder), pytest.raises(InputError, match="another Tidegate is changing"):
        authority.issue(Role.AGENT, "web-1")


def test_what_ends_within_thirty_days_is_renewed_and_the_rest_is_left(authority, clock):
    authority.issue(Role.AGENT, "web-1")
    clock.advance(40 * DAY)
    authority.issue(Role.AGENT, "web-2")
    assert authority.rotate() == []
    clock.advance(21 * DAY)
    assert standings(authority, clock)["tidegate:agent:web-1"] is Standing.DUE
    before = contents(authority.folder)
    renewed = authority.rotate()
    after = contents(authority.folder)
    assert [str(one.identity) for one in renewed] == ["tidegate:agent:web-1"]
    assert {name for name in after if after[name] != before[name]} == {"issued/agent/web-1/identity.pem"}
    assert renewed[0].ends_seconds == clock.now_seconds() + LEAF_DAYS * DAY
    assert set(standings(authority, clock).values()) == {Standing.GOOD}


def test_names_and_all_are_renewed_when_asked_for(authority):
    for name in ("web-1", "web-2"):
        authority.issue(Role.AGENT, name)
    assert [one.identity.name for one in authority.rotate(["web-2"])] == ["web-2"]
    assert len(authority.rotate(everybody=True)) == 2
    with pytest.raises(InputError, match="nothing was issued to 'web-3'"):
        authority.rotate(["web-3"])


def test_a_new_authority_takes_over_with_an_overlap(authority, clock):
    old = authority.issue(Role.DEVICE, "card-a")
    authority.rotate_authority()
    new = authority.issue(Role.AGENT, "web-1")
    assert set(standings(authority, clock).values()) == {Standing.GOOD}
    # Each believes both, so each believes the other.
    assert read_certificates(old).authorities == read_certificates(new).authorities
    with pytest.raises(InputError, match="tidegate:device:card-a is of an older authority"):
        authority.forget_old()
    authority.rotate(everybody=True)
    assert authority.forget_old() == 1
    assert len(x509.load_pem_x509_certificates((old / "ca.pem").read_bytes())) == 1
    assert set(standings(authority, clock).values()) == {Standing.GOOD}


def test_authorities_do_not_pile_up(authority):
    for _ in range(AUTHORITIES_MAX - 1):
        authority.rotate_authority()
    with pytest.raises(InputError, match="--forget-old"):
        authority.rotate_authority()


def test_who_is_revoked_stays_so_under_the_next_authority(authority, clock):
    authority.issue(Role.AGENT, "web-1")
    device = authority.issue(Role.DEVICE, "card-a")
    authority.revoke(Role.AGENT, "web-1")
    (serial,) = read_certificates(device).revoked
    authority.rotate_authority()
    authority.rotate(everybody=True)
    authority.forget_old()
    assert read_certificates(device).revoked == {serial}
    assert standings(authority, clock)["tidegate:agent:web-1"] is Standing.REVOKED
    for name, said in (("web-1", "revoked already"), ("web-9", "nothing was issued")):
        with pytest.raises(InputError, match=said):
            authority.revoke(Role.AGENT, name)
    authority.rotate(["web-1"])
    assert standings(authority, clock)["tidegate:agent:web-1"] is Standing.GOOD


def test_no_certificate_outlives_its_authority_and_an_expired_one_signs_nothing(authority, clock):
    clock.advance((AUTHORITY_DAYS - 10) * DAY)
    folder = authority.issue(Role.AGENT, "web-1")
    assert listed_folder(folder, clock).days_left == 10
    clock.advance(10 * DAY)
    assert standings(authority, clock)["tidegate:agent:web-1"] is Standing.EXPIRED
    with pytest.raises(InputError, match="has expired"):
        authority.issue(Role.AGENT, "web-2")


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_authority_is_told_and_left(content, authority):
    path = authority.folder / "authority.pem"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"authority\.pem holds no key"):
        authority.issue(Role.AGENT, "web-1")
    assert path.read_bytes() == content
