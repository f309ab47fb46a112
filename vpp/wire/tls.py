"""TLS for links: both sides show a certificate (Modbus/TCP Security V36; IEC 62351-3), TLS 1.2 at least."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from vpp.kernel.errors import LinkError


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side holds.

    Attributes:
        certificate: its own chain, PEM.
        key: the private key, PEM.
        authority: whose certificates of the other side are trusted, PEM.
        check_name: whether the peer's certificate must be made out to the host that was asked for; client only.
    """

    certificate: Path
    key: Path
    authority: Path
    check_name: bool = True


def server_context(own: Credentials) -> ssl.SSLContext:
    """A server that lets in only clients with a certificate of the authority. Raises `LinkError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, own)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(own: Credentials) -> ssl.SSLContext:
    """A client that shows its certificate and checks the server's. Raises `LinkError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = own.check_name
    _load(context, own)
    return context


def _load(context: ssl.SSLContext, own: Credentials) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(own.certificate, own.key)
        context.load_verify_locations(own.authority)
    except (OSError, ssl.SSLError) as error:
        raise LinkError("TLS", f"{own.certificate}, {own.key}, {own.authority}: {error}") from error
