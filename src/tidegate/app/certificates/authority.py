"""The folder of an authority: its key, whom it has issued certificates to, and what it says to all of them.

    authority.pem           the key, its certificate, and those of older authorities that are still believed
    ca.pem, revoked.pem     what every program has beside its own
    issued/ROLE/NAME/       one folder for each program, complete: identity.pem, ca.pem, revoked.pem

`authority.pem` and the certificates issued are what counts; the rest is written from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tidegate.app.certificates.files import (
    PUBLIC,
    SECRET,
    alone_in,
    read,
    replace,
    write_new,
    write_new_folder,
)
from tidegate.app.certificates.listed import RENEW_DAYS, Standing, listed
from tidegate.app.certificates.making import Signer, key_pem, new_authority, new_identity, new_revocations
from tidegate.model.application import checked_name
from tidegate.model.errors import InputError
from tidegate.wire.certificates import AUTHORITIES, IDENTITY, REVOKED, issued_by, revoked_serials
from tidegate.wire.identities import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.app.certificates.listed import Listed
    from tidegate.ports import Clock

AUTHORITY: Final = "authority.pem"
ISSUED: Final = "issued"
AUTHORITIES_MAX: Final = 4
"""How many are believed at once: the one that signs, and those whose certificates are still about."""


class Authority:
    """Makes certificates; every change to its folder is made alone, and whole."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Look at a folder, which `init` makes and the others need."""
        self.folder = folder
        self._clock = clock

    def init(self) -> Path:
        """Make a new authority, and return the file with its key.

        Raises:
            InputError: there is one, or it can't be written.

        """
        with alone_in(self.folder):
            path = self.folder / AUTHORITY
            if path.exists():
                raise InputError(
                    f"{path} is there already and is not overwritten: all certificates hang on it; "
                    "'tidegate certs rotate --authority' replaces it without a gap"
                )
            signer = new_authority(self._clock.now_seconds())
            write_new(path, _pem(signer, ()), SECRET)
            self._publish()
        return path

    def issue(self, role: Role, name: str) -> Path:
        """Make a key and a certificate for a program or a person, and return their folder.

        Raises:
            InputError: there is no authority, nobody can be called so, or it has one.

        """
        checked_name("a program", name)
        with alone_in(self._made()):
            signer, believed = self._opened()
            target = self.place_of(Identity(role, name))
            if target.exists():
                raise InputError(
                    f"{role.value} '{name}' has one in {target}; 'tidegate certs rotate {name}' renews it"
                )
            whole = new_identity(signer, Identity(role, name), role, self._clock.now_seconds())
            files = {IDENTITY: (whole, SECRET), AUTHORITIES: (_bundle(believed), PUBLIC)}
            if (self.folder / REVOKED).exists():
                files[REVOKED] = read(self.folder / REVOKED), PUBLIC
            write_new_folder(target, files)
        return target

    def rotate(self, names: Sequence[str] = (), *, everybody: bool = False) -> list[Listed]:
        """Issue anew what ends within `RENEW_DAYS`, or these names, or everything, and return it.

        Revoked certificates are not issued anew unless they are named.

        Raises:
            InputError: there is no authority, or nothing of that name.

        """
        with alone_in(self._made()):
            signer, _ = self._opened()
            found = listed(self.folder, self._clock)
            missing = set(names) - {one.identity.name for one in found}
            if missing:
                raise InputError(
                    f"nothing was issued to '{min(missing)}'; 'tidegate certs show' lists what was"
                )
            now = self._clock.now_seconds()
            due = [one for one in found if _is_due(one, names, everybody=everybody)]
            for one in due:
                if one.identity.role is not None:
                    whole = new_identity(signer, one.identity, one.identity.role, now)
                    replace(one.folder / IDENTITY, whole, SECRET)
            self._publish()
            renewed = {one.folder for one in due}
            return [one for one in listed(self.folder, self._clock) if one.folder in renewed]

    def rotate_authority(self) -> None:
        """Make a new authority that signs from now on; certificates of the one before are believed as before.

        Raises:
            InputError: there is none, or too many are believed already.

        """
        with alone_in(self._made()):
            _, believed = self._opened()
            now = self._clock.now_seconds()
            kept = [one for one in believed if one.not_valid_after_utc.timestamp() > now]
            if len(kept) >= AUTHORITIES_MAX:
                raise InputError(
                    f"{len(kept)} authorities are believed already; 'tidegate certs rotate --all', copy what "
                    "it made, then 'tidegate certs rotate --forget-old'"
                )
            replace(self.folder / AUTHORITY, _pem(new_authority(now), kept), SECRET)
            self._publish()

    def forget_old(self) -> int:
        """Believe only the authority that signs now, and return how many are believed no more.

        Raises:
            InputError: there is none, or a certificate that is still good is of an older one.

        """
        with alone_in(self._made()):
            signer, believed = self._opened()
            for one in listed(self.folder, self._clock):
                alive = one.standing in {Standing.GOOD, Standing.DUE}
                if alive and not issued_by(one.certificate, signer.certificate):
                    raise InputError(
                        f"the certificate of {one.identity} is of an older authority; "
                        "'tidegate certs rotate --all' first, and copy what it made"
                    )
            replace(self.folder / AUTHORITY, _pem(signer, ()), SECRET)
            self._publish()
            return len(believed) - 1

    def revoke(self, role: Role, name: str) -> Path:
        """Revoke what was issued to somebody, and return the list to copy to every server.

        Raises:
            InputError: there is no authority, nothing was issued, or it is revoked already.

        """
        with alone_in(self._made()):
            signer, believed = self._opened()
            one = next((each for each in listed(self.folder, self._clock) if each.is_of(role, name)), None)
            if one is None:
                raise InputError(
                    f"nothing was issued to {role.value} '{name}'; 'tidegate certs show' lists what was"
                )
            path = self.folder / REVOKED
            serials = revoked_serials(path, believed)
            if one.certificate.serial_number in serials:
                raise InputError(f"the certificate of {one.identity} was revoked already")
            serials |= {one.certificate.serial_number}
            replace(path, new_revocations(signer, serials, self._clock.now_seconds()), PUBLIC)
            self._publish()
        return path

    def opened(self) -> Authority:
        """Return this, if there is an authority here.

        Raises:
            InputError: there is none, or it can't be used.

        """
        self._made()
        self._opened()
        return self

    def place_of(self, identity: Identity) -> Path:
        """Return the folder of what is issued to somebody."""
        role = "" if identity.role is None else identity.role.value
        return self.folder / ISSUED / role / identity.name

    def _made(self) -> Path:
        """Return the folder, where there is an authority in it."""
        if not (self.folder / AUTHORITY).exists():
            raise InputError(f"there is no authority in {self.folder}; 'tidegate certs init' makes one")
        return self.folder

    def _opened(self) -> tuple[Signer, list[x509.Certificate]]:
        """Return who signs, and all who are believed, who signs first."""
        path = self.folder / AUTHORITY
        whole = read(path)
        try:
            key = load_pem_private_key(whole, password=None)
            believed = x509.load_pem_x509_certificates(whole)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InputError(f"{path} holds no key and certificate; bring back a copy of it") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != believed[0].public_key():
            raise InputError(
                f"the key and the certificate in {path} are not of one pair; bring back a copy of it"
            )
        if believed[0].not_valid_after_utc.timestamp() <= self._clock.now_seconds():
            raise InputError(
                f"the authority in {path} has expired; move the folder away and begin with 'init'"
            )
        return Signer(key, believed[0]), believed

    def _publish(self) -> None:
        """Write what is the same for everybody: into the folder, and into each that was issued."""
        signer, believed = self._opened()
        revoked = self.folder / REVOKED
        old = None
        if revoked.exists():
            # Signed again by who signs now: whoever forgets an older authority must still believe the list.
            known = x509.load_pem_x509_certificates(read(self.folder / AUTHORITIES))
            serials = revoked_serials(revoked, [*known, *believed])
            old = new_revocations(signer, serials, self._clock.now_seconds())
        folders = [self.folder, *(one.folder for one in listed(self.folder, self._clock))]
        # The authorities first: a list by one who is not believed yet would not be taken.
        for folder in folders:
            replace(folder / AUTHORITIES, _bundle(believed), PUBLIC)
            if old is not None:
                replace(folder / REVOKED, old, PUBLIC)


def opened_authority(folder: Path, clock: Clock) -> Authority:
    """Return the authority of a folder; whether there is one is asked by what needs it."""
    return Authority(folder, clock)


def _is_due(one: Listed, names: Sequence[str], *, everybody: bool) -> bool:
    if one.identity.name in names:
        return True
    if names or one.standing is Standing.REVOKED:
        return False
    return everybody or one.days_left <= RENEW_DAYS


def _pem(signer: Signer, older: Sequence[x509.Certificate]) -> bytes:
    return key_pem(signer.key) + _bundle([signer.certificate, *older])


def _bundle(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
