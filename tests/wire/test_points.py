"""The point table: what the wire does to a value, what is wrong with a row, and files that come back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.kernel import quality as q
from vpp.kernel.errors import ScenarioError
from vpp.kernel.signals import canonical
from vpp.wire.pointfile import load_points, read_points, to_csv, to_yaml
from vpp.wire.points import Point, PointTable, check
from vpp.wire.types import WIRE_TYPES

ROWS = (
    Point("pv1", "p_mw", "1", wire="int16", scale=10.0, unit="W", quality="sentinel"),
    Point("pv1", "vm_pu", "2", wire="uint16", scale=0.1, unit="V", base=230.0),
    Point("pv1", "soc", "3", wire="uint16", scale=0.01, unit="%", quality="sentinel"),
    Point(
        "pv1",
        "p_limit_mw",
        "4",
        sheet="setpoints",
        wire="uint16",
        scale=0.01,
        unit="%",
        base=0.05,
        access="w",
        low=0.0,
        high=0.05,
    ),
    Point("pv1", "q_mvar", "5", sign=-1, wire="int32", unit="var"),
    Point("pv1", "f_hz", "6", offset=50.0, scale=0.1, wire="uint8"),
    Point("m1", "p_mw", "7", sheet="points"),
    Point("pv1", "qv_v1_pu", "8", sheet="settings", access="rw", stored=True, min_write_s=3600.0),
    Point("pv1", "p_limit_mw", "4", sheet="applied", wire="uint16", scale=0.01, unit="%", base=0.05),
)
TABLE = PointTable(ROWS)


def test_values_as_the_wire_has_them() -> None:
    values = np.array([0.0123456, 1.0, 0.5, 0.025, 0.001, 52.0, 0.1, 0.92, 0.025])
    raw, quality = TABLE.encode(TABLE.all, values)
    assert raw.tolist() == [1235, 2300, 5000, 5000, -1000, 20, np.float32(0.1), np.float32(0.92), 5000]
    assert not quality.any()
    back, quality = TABLE.decode(TABLE.all, raw)
    assert back == pytest.approx(values, rel=1e-3)
    assert back[0] == pytest.approx(0.01235)
    assert not quality.any()


def test_what_does_not_fit_is_held_and_said() -> None:
    raw, quality = TABLE.encode(np.array([0, 0, 1, 3]), np.array([9.0, -9.0, -0.1, np.inf]))
    assert raw.tolist() == [32767, -32767, 0, 65535]  # -32768 says "not implemented"
    assert quality.tolist() == [q.OVERFLOW] * 4


def test_what_is_not_known_is_never_a_number() -> None:
    values = np.array([np.nan, np.nan, 0.1, np.nan])
    raw, quality = TABLE.encode(np.array([0, 1, 2, 6]), values, np.array([0, q.STALE, q.INVALID, 0], np.uint8))
    assert raw.tolist()[:3] == [-32768, 0, 65535]
    assert np.isnan(raw[3])
    assert quality.tolist() == [q.INVALID, q.INVALID | q.STALE, q.INVALID, q.INVALID]
    back, _ = TABLE.decode(np.array([0, 1, 2, 6]), raw, quality)
    assert np.isnan(back).all()
    _, from_sentinel = TABLE.decode(np.array([0, 2]), np.array([-32768.0, 65535.0]))
    assert from_sentinel.tolist() == [q.INVALID, q.INVALID]


@given(
    st.sampled_from(sorted(WIRE_TYPES)), st.floats(1e-4, 1e4), st.floats(-1e3, 1e3), st.sampled_from((1, -1)),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20),
)  # fmt: skip
def test_what_passed_the_wire_once_passes_it_unchanged(
    wire: str, scale: float, offset: float, sign: int, values: list[float]
) -> None:
    table = PointTable((Point("a", "p_mw", "1", wire=wire, scale=scale, offset=offset, sign=sign, unit="W"),))
    rows = np.zeros(len(values), np.int64)
    once, flags = table.quantise(rows, np.array(values))
    twice, again = table.quantise(rows, once, flags & np.uint8(~q.OVERFLOW & 0xFF))
    if WIRE_TYPES[wire].whole and WIRE_TYPES[wire].bits < 64:
        assert canonical(once).tobytes() == canonical(twice).tobytes()
        assert np.array_equal(flags & q.VALIDITY_MASK, again & q.VALIDITY_MASK)
    elif wire == "float32" and offset == 0.0:
        assert canonical(once).tobytes() == canonical(twice).tobytes()
    else:  # a float64 or 64-bit integer has no more digits to spare for an offset
        assert np.allclose(once, twice, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_cells_find_their_places() -> None:
    rows, signal, resource = TABLE.cells("telemetry", ["other", "pv1"])
    assert [TABLE.points[i].signal for i in rows] == ["p_mw", "vm_pu", "soc", "q_mvar", "f_hz"]
    assert signal.tolist() == [0, 2, 4, 1, 3]
    assert set(resource.tolist()) == {1}
    assert TABLE.cells("points", ["m1"])[0].tolist() == [6]
    assert TABLE.find("pv1", "soc") == 2
    assert TABLE.find("pv1", "soc", "settings") == -1
    assert TABLE.writable.tolist() == [3, 7]
    assert TABLE.out_of_band(np.array([3, 3, 3, 7]), np.array([0.05, 0.06, np.nan, 9.0])).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Point("a", "p_mw", "1", sheet="telemetri"), "a.p_mw: sheet: must be one of telemetry"),
        (Point("a", "p_kw", "1"), "a.p_kw: signal: there is no such signal in telemetry"),
        (Point("a", "p_mw", "1", unit="V"), "unit: cannot be turned into MW, the unit of p_mw; is a base missing? (got V)"),
        (Point("a", "vm_pu", "1", unit="V"), "is a base missing?"),
        (Point("a", "p_mw", "1", unit="kW", base=3.0), "is there a base too many?"),
        (Point("a", "p_mw", "1", wire="int17"), "wire: must be one of"),
        (Point("a", "p_mw", "1", scale=0.0), "scale: must not be 0"),
        (Point("a", "p_mw", "1", sign=2), "sign: must be 1 or -1 (got 2)"),
        (Point("a", "p_mw", "1", deadband=-1.0), "are magnitudes"),
        (Point("a", "p_mw", "1", event_class=4), "event_class: must be 0, 1, 2 or 3 (got 4)"),
        (Point("a", "p_mw", "1", low=2.0, high=1.0), "low: is above high (got 2 > 1)"),
        (Point("a", "p_mw", ""), "address: resource and address must not be empty"),
        (Point("a", "p_mw", "1", access="x"), "access: must be one of r, w, rw (got x)"),
        (Point("b", "p_mw", "1"), "resource: there is no such resource (got b)"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(row: Point, message: str) -> None:
    findings = [str(f) for f in check([row], ids=["a"])]
    assert len(findings) == 1
    assert message in findings[0]


def test_doubles_are_told_but_a_setpoint_and_its_reading_share_an_address() -> None:
    twice = [*ROWS, Point("pv1", "p_mw", "9"), Point("pv2", "p_mw", "5")]
    assert [str(f) for f in check(twice)] == [
        "pv1.p_mw: signal: stands already in row 1 (got p_mw)",
        "pv2.p_mw: address: stands already in row 5 (got 5)",
    ]
    with pytest.raises(ValueError, match="stands already"):
        PointTable(tuple(twice))


@pytest.mark.parametrize(("write", "ending"), [(to_csv, "csv"), (to_yaml, "yaml")])
def test_files_come_back_the_same(tmp_path: Path, write, ending: str) -> None:
    path = tmp_path / f"points.{ending}"
    path.write_text(write(TABLE), "utf-8")
    assert load_points(path, ["pv1", "m1"]) == TABLE


def test_every_finding_of_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("resource,signal,address,scale,colour\npv1,p_mw,1,x,red\npv1,vm_pu,,1,\npv9,p_mw,3,,\n")
    points, findings = read_points(path, ["pv1"])
    assert [str(f).partition("p.csv:")[2] for f in findings] == [
        "2: colour: there is no such key",
        "2: scale: must be a float (got x)",
        "3: colour: there is no such key",
        "3: address: is missing",
        "4: colour: there is no such key",
    ]
    assert points == ()
    path = tmp_path / "p.yaml"
    path.write_text(
        "points:\n- {resource: pv1, signal: p_mw, address: '1', unit: V}\n- resource: pv9\n  signal: q_mvar\n  address: '1'\n"
    )
    with pytest.raises(ScenarioError) as caught:
        load_points(path, ["pv1"])
    assert [str(f).partition("p.yaml:")[2] for f in caught.value.findings] == [
        "2: pv1.p_mw: unit: cannot be turned into MW, the unit of p_mw; is a base missing? (got V)",
        "3: pv9.q_mvar: resource: there is no such resource (got pv9)",
        "3: pv9.q_mvar: address: stands already in line 2 (got 1)",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "rows: []"),
        ("a.yaml", "points: ["),
        ("a.yaml", "points: [3]"),
        ("a.csv", "resource,signal\na\n"),
        ("a.csv", None),
    ],
)
def test_what_is_no_table_is_one_finding(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    points, findings = read_points(tmp_path / name)
    assert points == ()
    assert len(findings) == 1
    assert "cannot be read" in findings[0].message
