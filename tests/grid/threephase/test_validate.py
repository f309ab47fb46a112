"""What is wrong with a three-phase network, at once, with how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.dss import read_dss
from vpp.grid.finding import GridFinding
from vpp.grid.threephase import Feeder, compile_feeder
from vpp.grid.threephase.validate import unreadable, validate
from vpp.kernel.errors import NetworkError


@cache
def feeder() -> Feeder:
    return read_dss(oracle.path("ieee13"))


def changed(table: str, name: str, change: Callable[[Any], Any]) -> Feeder:
    """The feeder with one of its elements replaced."""
    return replace(feeder(), **{table: [change(x) if x.name == name else x for x in getattr(feeder(), table)]})


def wound(side: int, **values: Any) -> Callable[[Any], Any]:
    """Replace something of one winding."""
    return lambda t: replace(
        t, windings=tuple(replace(w, **values) if k == side else w for k, w in enumerate(t.windings))
    )  # fmt: skip


def lossy(line: Any) -> Any:
    """A line of negative resistance in its first conductor."""
    z = line.z_ohm.copy()
    z[0, 0] -= 2.0 * z[0, 0].real
    return replace(line, z_ohm=z)


def swapped(line: Any) -> Any:
    """A line whose conductors couple more than they resist."""
    z = line.z_ohm.copy()
    z[0, 1] = z[1, 0] = 5.0 * z[0, 0].real + 1j * z[0, 1].imag
    return replace(line, z_ohm=z)


def serious(found: list[GridFinding]) -> list[GridFinding]:
    """Errors and warnings."""
    return [f for f in found if f.level != "info"]


def test_the_feeder_itself() -> None:
    found = validate(compile_feeder(feeder()))
    assert serious(found) == []
    assert all(f.mend for f in found)
    (controls,) = [f for f in found if f.kind == "regulator"]
    assert controls.ids == ("reg_a", "reg_b", "reg_c")
    assert any("of balanced networks" in f.message for f in found if f.rule == "engine")


@pytest.mark.parametrize(
    ("table", "name", "change", "rule", "level", "kind"),
    [
        ("loads", "671", lambda x: replace(x, kv=x.kv / 3**0.5), "voltage-level", "error", "load"),
        ("loads", "671", lambda x: replace(x, kv=x.kv * 1.2), "voltage-level", "warning", "load"),
        ("capacitors", "611", lambda x: replace(x, kv=x.kv * 3**0.5), "voltage-level", "error", "capacitor"),
        ("transformers", "xfm1", wound(0, kv=2.4), "voltage-level", "error", "transformer"),
        ("transformers", "xfm1", wound(1, tap=1.2), "tap-range", "error", "transformer"),
        ("lines", "670_671", lossy, "impossible-impedance", "error", "line"),
        ("lines", "670_671", swapped, "impossible-impedance", "error", "line"),
        ("transformers", "xfm1", lambda x: replace(x, x_percent=-1.0), "odd-impedance", "warning", "transformer"),
    ],
)
def test_one_mistake(table: str, name: str, change: Callable[[Any], Any], rule: str, level: str, kind: str) -> None:
    assert any(x.name == name for x in getattr(feeder(), table)), [x.name for x in getattr(feeder(), table)]
    found = serious(validate(compile_feeder(changed(table, name, change))))
    assert [(f.rule, f.level, f.kind) for f in found] == [(rule, level, kind)]
    assert str(found[0].ids[0]).startswith(name)
    assert found[0].mend


def test_a_tap_between_two_steps_is_told() -> None:
    found = validate(compile_feeder(changed("transformers", "xfm1", wound(1, tap=1.01))))
    (between,) = [f for f in found if f.rule == "tap-range"]
    assert (between.level, between.ids) == ("info", ("xfm1",))


def test_what_has_no_supply() -> None:
    cut = replace(feeder(), lines=[line for line in feeder().lines if line.name != "671_692"])
    found = serious(validate(compile_feeder(cut)))
    assert [(f.rule, f.level) for f in found] == [("no-supply", "warning"), ("at-dead-bus", "warning")]
    assert {"692.1", "675.3"} <= set(found[0].ids)
    assert {str(name).partition(".")[0][:3] for name in found[1].ids} == {"675", "692"}


def test_a_script_that_cannot_be_read_is_told_line_by_line() -> None:
    found = unreadable(NetworkError("dss:x", "x.dss:1: one\nx.dss:7: two"))
    assert [f.message for f in found] == ["x.dss:1: one", "x.dss:7: two"]
    assert {f.level for f in found} == {"error"}


def test_a_carried_neutral_is_told() -> None:
    nodes = (("x", 1), ("x", 4))
    line = replace(
        feeder().lines[0], name="n", from_nodes=(feeder().sources[0].nodes[0], ("y", 4)), to_nodes=nodes,
        z_ohm=np.diag([0.1 + 0.1j, 0.1 + 0.1j]), y_siemens=np.diag([1e-6j, 1e-6j]),
    )  # fmt: skip
    found = validate(compile_feeder(replace(feeder(), lines=[*feeder().lines, line])))
    (neutral,) = [f for f in found if f.kind == "node" and f.rule == "engine"]
    assert set(neutral.ids) == {"x.4", "y.4"}
