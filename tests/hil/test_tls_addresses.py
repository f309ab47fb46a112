"""``…?tls=FOLDER``: an address over TLS, on every protocol; whoever shows nothing, or a stranger's certificate, is kept out."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from hil.links import Where, link, served
from tests.wire import certificates
from tests.wire.stage import Wire
from tests.wire.wires import WIRES
from vpp.kernel.errors import LinkError
from vpp.wire.link import Link
from vpp.wire.tls import Credentials

PATIENCE_S = 20.0


def in_folder(folder: Path, held: Credentials) -> Path:
    """Credentials as an address wants them."""
    folder.mkdir()
    names = (("certificate", held.certificate), ("key", held.key), ("authority", held.authority))
    for name, file in names:
        (folder / f"{name}.pem").write_bytes(file.read_bytes())
    return folder


async def answers(link: Link) -> bool:
    """Whether the device gives a sign of life."""
    try:
        await link.connect(5.0)
        await link.heartbeat(5.0)
    except (LinkError, TimeoutError):
        return False
    finally:
        with contextlib.suppress(LinkError):
            await link.close()
    return True


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_a_link_over_tls(wire: Wire, tmp_path: Path) -> None:
    held = certificates.make(tmp_path)
    theirs, ours, strange = (in_folder(tmp_path / f"{who}-folder", held[who]) for who in ("server", "client", "stranger"))

    async def test() -> None:
        server = served(wire.table, Where.of(f"{wire.name}://127.0.0.1:0?tls={theirs}"))
        await server.start()

        def made(more: str) -> Link:
            return link(wire.table, Where.of(f"{wire.name}://127.0.0.1:{server.address[1]}?emulated=yes{more}"))

        try:
            assert await answers(made(f"&tls={ours}"))
            assert not await answers(made(f"&tls={strange}"))
            assert not await answers(made(""))
            assert await answers(made(f"&tls={ours}&tls_name=no"))
        finally:
            await server.stop()

    async def limited() -> None:
        async with asyncio.timeout(4 * PATIENCE_S):
            await test()

    asyncio.run(limited())


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"certificate\.pem"):
        link(WIRES[0].table, Where.of(f"modbus://127.0.0.1:1?tls={tmp_path}"))
