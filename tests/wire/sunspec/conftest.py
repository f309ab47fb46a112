"""Two inverters, and the SunSpec Alliance's own client connected to the first of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from tests.wire.sunspec.fleet import Hand, ders, serving
from vpp.wire.sunspec.der import Ders


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def made(clock: Hand) -> Ders:
    return ders(clock)


@pytest.fixture
def client(made: Ders) -> Iterator[SunSpecModbusClientDeviceTCP]:
    with serving(made) as server:
        device = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=server.address[1], timeout=10)
        device.scan(connect=True)
        device.connect()
        yield device
        device.disconnect()


@pytest.fixture
def store(made: Ders) -> Iterator[SunSpecModbusClientDeviceTCP]:
    """The second device, a battery."""
    with serving(made) as server:
        device = SunSpecModbusClientDeviceTCP(slave_id=2, ipaddr="127.0.0.1", ipport=server.address[1], timeout=10)
        device.scan(connect=True)
        device.connect()
        yield device
        device.disconnect()
