"""A folder of certificates: who this program is, whom it believes, and whom no more.

`identity.pem` holds the private key and the certificate, in one file so that both change at once; `ca.pem`
the authorities that are believed; `revoked.pem`, where there is one, their lists of revoked certificates.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal
from tidegate.wire.identities import Identity, identity_in, peer_of

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.ports import Clock

IDENTITY: Final = "identity.pem"
AUTHORITIES: Final = "ca.pem"
REVOKED: Final = "revoked.pem"
FILE_BYTES_MAX: Final = 1024 * 1024
"""Largest file of certificates that is read."""
REVOCATIONS: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
AGAIN: Final = "issue it anew with 'tidegate certs issue', or copy the folder again"


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a folder holds, checked."""

    identity: Identity
    key: bytes
    chain: bytes
    authorities: bytes
    revoked: frozenset[int]
    """Serial numbers."""
    begins_seconds: float
    ends_seconds: float
    """Seconds since 1970 UTC between which the certificate is good."""


def read_certificates(folder: Path) -> Certificates:
    """Return what a folder of certificates holds.

    Raises:
        InputError: a file is missing, unreadable, open to everybody, or does not fit the others.

    """
    own, believed = _bytes(folder / IDENTITY), _bytes(folder / AUTHORITIES)
    if (folder / IDENTITY).stat().st_mode & 0o007:
        raise InputError(f"{folder / IDENTITY} holds a key and is open to everybody; chmod 600 it")
    try:
        key = load_pem_private_key(own, password=None)
        chain = x509.load_pem_x509_certificates(own)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{folder / IDENTITY} holds no key and certificate ({error}); {AGAIN}") from error
    try:
        authorities = x509.load_pem_x509_certificates(believed)
    except ValueError as error:
        raise InputError(
            f"{folder / AUTHORITIES} holds no certificate; copy that of your authority"
        ) from error
    leaf, der = chain[0], (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*der) != leaf.public_key().public_bytes(*der):
        raise InputError(f"the key and the certificate in {folder / IDENTITY} are not of one pair; {AGAIN}")
    who = identity_in(leaf)
    if who is None:
        raise InputError(f"the certificate in {folder / IDENTITY} names no role of Tidegate; {AGAIN}")
    if not any(issued_by(leaf, authority) for authority in authorities):
        raise InputError(
            f"the certificate in {folder / IDENTITY} is of no authority in {folder / AUTHORITIES}; {AGAIN}"
        )
    return Certificates(
        identity=who,
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        chain=b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        authorities=b"".join(each.public_bytes(Encoding.PEM) for each in authorities),
        revoked=revoked_serials(folder / REVOKED, authorities),
        begins_seconds=leaf.not_valid_before_utc.timestamp(),
        ends_seconds=leaf.not_valid_after_utc.timestamp(),
    )


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def revoked_serials(path: Path, authorities: list[x509.Certificate]) -> frozenset[int]:
    """Return the serial numbers of revoked certificates; none where there is no such file.

    Raises:
        InputError: a list in it can't be read, or none of the authorities has signed it.

    """
    if not path.exists():
        return frozenset()
    serials: set[int] = set()
    lists = REVOCATIONS.findall(_bytes(path))
    if not lists:
        raise InputError(f"{path} holds no list of revoked certificates; copy it from the authority again")
    for pem in lists:
        try:
            listed = x509.load_pem_x509_crl(pem)
            keys: list[Any] = [authority.public_key() for authority in authorities]
            signed = any(listed.is_signature_valid(key) for key in keys)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InputError(f"{path} can't be read ({error}); copy it from the authority again") from error
        if not signed:
            raise InputError(f"a list in {path} was signed by no authority in {AUTHORITIES} beside it")
        serials.update(each.serial_number for each in listed)
    return frozenset(serials)


class Renewed:
    """The certificates of a folder as they are now: read again whenever a file of it has changed."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Read a folder.

        Raises:
            InputError: it holds none that are good now.

        """
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()  # gRPC asks from threads of its own
        self._stamps = _stamps(self._folder)
        self._held = checked_now(read_certificates(folder), folder, clock)

    def now(self) -> Certificates:
        """Return them; those before where what is there now can't be used, which is logged."""
        with self._lock:
            stamps = _stamps(self._folder)
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._held = checked_now(read_certificates(self._folder), self._folder, self._clock)
                except InputError as error:
                    structlog.get_logger(__name__).error("new certificates are not used", why=str(error))
            return self._held

    def check(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Refuse a caller whose certificate names nobody, was revoked, or has expired since it connected.

        Raises:
            Refusal: so it is (`Because.UNKNOWN_PEER`).

        """
        peer = peer_of(context)
        if peer is None:
            raise Refusal(Because.UNKNOWN_PEER, "this needs TLS and a certificate of 'tidegate certs issue'")
        if peer.serial in self.now().revoked:
            raise Refusal(Because.UNKNOWN_PEER, f"the certificate of {peer.identity} was revoked; {AGAIN}")
        if self._clock.now_seconds() > peer.ends_seconds:
            raise Refusal(Because.UNKNOWN_PEER, f"the certificate of {peer.identity} has expired; {AGAIN}")

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return what a server shows and asks for; each handshake takes what is in the folder then."""
        shown = self.now()
        given = [shown]

        def fetch() -> Any:  # noqa: ANN401 - None says "as before", which its stubs do not know
            held = self.now()
            if held is given[0]:
                return None
            given[0] = held
            return _shown(held)

        return grpc.dynamic_ssl_server_credentials(_shown(shown), fetch, require_client_authentication=True)


def channel_credentials(folder: Path, clock: Clock) -> grpc.ChannelCredentials:
    """Return what a client shows, and whom it believes.

    Raises:
        InputError: the folder holds none that are good now.

    """
    held = checked_now(read_certificates(folder), folder, clock)
    return grpc.ssl_channel_credentials(held.authorities, held.key, held.chain)


def checked_now(held: Certificates, folder: Path, clock: Clock) -> Certificates:
    """Return certificates that are good now.

    Raises:
        InputError: they have expired, or are not good yet.

    """
    now = clock.now_seconds()
    if now > held.ends_seconds:
        raise InputError(f"the certificate in {folder} has expired; 'tidegate certs rotate' issues it anew")
    if now < held.begins_seconds:
        raise InputError(f"the certificate in {folder} is not good yet; is the clock of this machine right?")
    return held


def _shown(held: Certificates) -> Any:  # noqa: ANN401 - gRPC's own, opaque
    return grpc.ssl_server_certificate_configuration([(held.key, held.chain)], held.authorities)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(f"{path} has more than {FILE_BYTES_MAX} bytes and is no file of certificates")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}); name a folder that 'tidegate certs issue' has made"
        ) from error


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _stamps(folder: Path) -> tuple[tuple[int, ...], ...]:
    return tuple(_stamp(folder / name) for name in (IDENTITY, AUTHORITIES, REVOKED))
