"""Keys and certificates as bytes, from what they are to say; what they may do is as little as the role needs.

P-256, as RFC 8446 has every TLS 1.3 implementation speak it, and SHA-256.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.wire.identities import Identity, Role, host_name_of

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTHORITY_DAYS: Final = 3652
"""Ten years."""
LEAF_DAYS: Final = 90
"""Of a program's certificate: as long as Let's Encrypt's, and as there so that renewal stays practised."""
SKEW: Final = timedelta(hours=1)
"""How far clocks may differ: certificates are good from so long before they are made."""
SERVES: Final = frozenset({Role.DEVICE, Role.FLEET})
"""Roles that are asked; the others only ask."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority's key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def new_authority(now_seconds: int) -> Signer:
    """Return a new authority, good for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Named apart from the one before it, so that nobody takes one for the other.
    name = _named(f"Tidegate authority {serial % 2**32:08x}")
    begins = datetime.fromtimestamp(now_seconds, UTC)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begins - SKEW)
        .not_valid_after(begins + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(own, critical=False)
    )
    return Signer(key, built.sign(key, SHA256()))


def new_identity(signer: Signer, identity: Identity, role: Role, now_seconds: int) -> bytes:
    """Return a new key and a certificate of it as one PEM file; it ends with the authority at the latest."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = datetime.fromtimestamp(now_seconds, UTC)
    ends = min(begins + timedelta(days=LEAF_DAYS), signer.certificate.not_valid_after_utc)
    names = [
        x509.UniformResourceIdentifier(str(identity)),
        x509.DNSName(identity.host_name),
        x509.DNSName(host_name_of(role)),
    ]
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role in SERVES:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
    signer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    built = (
        x509.CertificateBuilder()
        .subject_name(_named(identity.name))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - SKEW)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(signer_key, critical=False)
    )
    certificate = built.sign(signer.key, SHA256())
    return key_pem(key) + certificate.public_bytes(Encoding.PEM)


def new_revocations(signer: Signer, serials: Iterable[int], now_seconds: int) -> bytes:
    """Return the list of revoked certificates as PEM; it is good as long as the authority."""
    begins = datetime.fromtimestamp(now_seconds, UTC)
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(begins)
        .next_update(max(signer.certificate.not_valid_after_utc, begins + SKEW))
    )
    for serial in sorted(serials):
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begins)
        built = built.add_revoked_certificate(one.build())
    return built.sign(signer.key, SHA256()).public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM, without a passphrase: programs start without people."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
