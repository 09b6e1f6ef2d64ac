"""Throw-away certificates for loopback: one that can be trusted, and three that cannot."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_DAY = timedelta(days=1)


class Tls(Enum):
    """What is right or wrong with the server's certificate."""

    TRUSTED = "issued by the CA that the client is given"
    UNTRUSTED = "issued by a CA that nobody knows"
    EXPIRED = "ended yesterday"
    OTHER_HOST = "issued for another host name"


@dataclass(frozen=True, slots=True)
class _Issuer:
    """A certificate authority that lives as long as the server."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, name: str) -> _Issuer:
        return cls(_name(name), ec.generate_private_key(ec.SECP256R1()))

    def own(self) -> x509.Certificate:
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        return (
            self._start(self.name, self.key).add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())
        )

    def issue(self, key: ec.EllipticCurvePrivateKey, kind: Tls) -> x509.Certificate:
        names: list[x509.GeneralName] = [x509.DNSName("other.invalid")]
        if kind is not Tls.OTHER_HOST:
            names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
        until = -_DAY if kind is Tls.EXPIRED else _DAY
        builder = self._start(_name("Sandbox server"), key, until)
        return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(self.key, hashes.SHA256())

    def _start(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: timedelta = _DAY
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - 9 * _DAY).not_valid_after(now + until)


def server_context(directory: Path, kind: Tls) -> tuple[ssl.SSLContext, Path]:
    """Return the context of a TLS server, and the CA file that its clients are given.

    Args:
        directory: Where the CA file and the server's key are written.
        kind: What is right or wrong with the certificate.
    """
    known, key = _Issuer.new("Sandbox CA"), ec.generate_private_key(ec.SECP256R1())
    issuer = _Issuer.new("Nobody's CA") if kind is Tls.UNTRUSTED else known
    ca_file, chain_file = directory / "ca.pem", directory / "server.pem"
    ca_file.write_bytes(known.own().public_bytes(serialization.Encoding.PEM))
    chain_file.write_bytes(_pem(key) + issuer.issue(key, kind).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_file)
    return context, ca_file


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
