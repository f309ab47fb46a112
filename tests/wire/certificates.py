"""Certificates for tests: an authority, a server at 127.0.0.1, a client, a stranger of another authority, one that expired."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import trustme

from vpp.wire.tls import Credentials


def make(folder: Path) -> dict[str, Credentials]:
    """Credentials by role, all of them trusting the one authority."""
    authority, other = trustme.CA(), trustme.CA()
    long_ago = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2020, 1, 2, tzinfo=UTC)}
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = {
        "server": authority.issue_cert("127.0.0.1"),
        "client": authority.issue_cert("client.example"),
        "stranger": other.issue_cert("client.example"),
        "expired": authority.issue_cert("client.example", **long_ago),
        "server, expired": authority.issue_cert("127.0.0.1", **long_ago),
        "elsewhere": authority.issue_cert("elsewhere.example"),
    }
    made = {}
    for name, cert in issued.items():
        cert.private_key_pem.write_to_path(folder / f"{name}.key")
        cert.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        made[name] = Credentials(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")
    return made
