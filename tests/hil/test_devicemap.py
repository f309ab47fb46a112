"""Device maps: those that ship are right, and a wrong one is told with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil.devicemap import load_map, names
from hil.emulator import Clock
from tests.hil.small import outlets
from vpp.kernel.errors import ScenarioError
from vpp.wire.sunspec.discover import Discovered


def test_every_shipped_map_can_be_read() -> None:
    assert {"sunspec-inverter", "sunspec-battery", "legacy-inverter", "meter-sdm630"} <= set(names())
    for name in names():
        made = load_map(name)
        assert made.purpose
        writes = any("w" in row.get("access", "r") for row in made.rows)
        assert not writes or made.fallback != "none"  # what ships falls back by itself


def test_a_meter_counts_the_other_way() -> None:
    """1200 W imported is -1.2 kW here."""
    table = load_map("meter-sdm630").on_wire("house", 7)
    row = table.find("house", "p_mw")
    assert table.points[row].address == "7:input:52"
    assert table.decode(np.array([row]), np.array([1200.0]))[0] == pytest.approx([-0.0012])
    assert table.decode(np.array([table.find("house", "vm_pu")]), np.array([234.6]))[0] == pytest.approx([1.02])


@pytest.mark.parametrize(("name", "which"), [("sunspec-inverter", 0), ("sunspec-battery", 1)])
def test_a_map_meets_a_device(name: str, which: int) -> None:
    """Addresses and scales are the device's own; 50 % of 10 kW is 5 kW."""
    images = outlets(Clock())[which].ders.images
    table, missing = load_map(name).on_sunspec("d", Discovered(1, images, ()))
    assert missing == []
    if which == 0:
        row = np.array([table.find("d", "p_limit_mw", "setpoints")])
        assert table.encode(row, np.array([0.005]))[0] == pytest.approx([5000.0])  # WMaxLimPct_SF is -2
    assert {p.address.split(":")[0] for p in table.points} == {"1"}


def test_what_a_device_lacks_is_told() -> None:
    images = outlets(Clock(), "legacy")[0].ders.images
    table, missing = load_map("legacy-inverter").on_sunspec("d", Discovered(1, images, ()))
    assert missing == []
    assert len(table)
    with_, lacks = load_map("sunspec-inverter").on_sunspec("d", Discovered(1, images, ()))
    assert len(with_) == 0
    assert "701.W" in str(lacks[0])


HEAD = "# A test.\nprotocol: modbus\nfallback: lease\nlease_s: 60\npoints:\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "  - {signal: p_mw}\n", ":6: address: is missing"),
        (HEAD + "  - {signal: p_mw, address: '1:input:0'}\n  - {signal: nix, address: '1:input:2'}\n", ":7: device.nix: signal"),
        (HEAD + "  - {signal: p_mw, address: '1:input:0', colour: red}\n", ":6: colour: there is no such key"),
        (HEAD + "  - {signal: p_mw, address: '1:input:0', unit: V}\n", "cannot be turned into MW"),
        (HEAD + "  - {signal: p_mw, address: '1:input:0', scale: much}\n", "scale: must be a float"),
        (HEAD.replace("60", "0") + "  - {signal: p_mw, address: '1:input:0'}\n", "lease_s"),
        (HEAD.replace("lease\n", "hope\n") + "  - {signal: p_mw, address: '1:input:0'}\n", "fallback: must be one of"),
        (HEAD.replace("modbus", "smoke"), "protocol: must be one of"),
        (HEAD, "points: must be a list"),
        ("- 1\n", "is no mapping"),
        ("points: [\n", "is not YAML"),
        (HEAD.replace("modbus", "sunspec") + "  - {signal: p_mw, address: '701.W', scale: 2}\n", "comes from the device"),
    ],
)
def test_a_wrong_map_is_told(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        load_map(str(path))
    assert any(told in str(f) for f in error.value.findings), error.value
