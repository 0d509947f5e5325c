"""Certificates for the parts of one embedded server, by which they know each other and nobody else.

They are made anew at each start and never leave their folder, so there is nothing to renew or to revoke.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Longer than any process runs.
_LIFETIME = timedelta(days=3650)


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority, and one pair that it has signed, which serves as server and as client."""

    authority: Path
    certificate: Path
    key: Path


def make(folder: Path, host: str) -> Certificates:
    """A new authority and a pair for `host` (an IP address), for their owner only. The authority's key is not kept."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, name = _name(f"fiveshot authority {os.urandom(4).hex()}"), _name("fiveshot")
    root = _builder(authority, authority, authority_key).add_extension(x509.BasicConstraints(True, 0), critical=True)
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)), x509.DNSName("localhost")])
    pair = _builder(name, authority, key).add_extension(hosts, critical=False)
    made = Certificates(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(made.authority, root.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    _write(made.certificate, pair.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    _write(made.key, secret)
    return made


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is set back a little must not make the pair invalid.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
