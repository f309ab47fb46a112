"""Everything that is wrong with a network, at once, with how to mend it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pytest

from tests.grid.test_topology import ring
from vpp.grid import load_network
from vpp.grid.compile import _UNSUPPORTED as REFUSED
from vpp.grid.compile import compile_network
from vpp.grid.engine_limits import LIMITS, NOT_KEPT
from vpp.grid.model import NetworkModel
from vpp.grid.powerflow import ENGINES, choose
from vpp.grid.source import load_source, quiet, resolve
from vpp.grid.threephase import CurrentInjection
from vpp.grid.validate import GridFinding, validate


def findings(net: Any) -> list[GridFinding]:
    """What is wrong with a pandapower network."""
    return validate(NetworkModel.of_pandapower(net))


def named(found: list[GridFinding], rule: str, kind: str) -> list[int]:
    """Elements of a kind that a rule names, ascending."""
    return sorted({i for f in found if f.rule == rule and f.kind == kind for i in f.ids})


def healthy() -> Any:
    """The ring with its open ends supplied: nothing is wrong with it."""
    net = ring()
    with quiet():
        pp.create_line_from_parameters(net, 6, 8, 1.0, 0.2, 0.1, 200, 0.3, index=7)
        pp.create_load(net, 2, 0.5, 0.1, index=0)
        pp.create_sgen(net, 3, 0.4, index=0)
        pp.create_storage(net, 3, 0.1, 0.2, index=0, soc_percent=50.0)
    net.switch.loc[1, "closed"] = True
    return net


def test_a_healthy_network() -> None:
    assert findings(healthy()) == []


def set_(net: Any, kind: str, row: int, **values: Any) -> None:
    for column, value in values.items():
        net[kind].loc[row, column] = value


@pytest.mark.parametrize(
    ("kind", "row", "values", "rule", "level", "mend"),
    [
        ("line", 1, {"to_bus": 77}, "no-bus", "error", "correct to_bus"),
        ("load", 0, {"bus": 77}, "no-bus", "error", "correct bus"),
        ("switch", 0, {"element": 77}, "no-element", "error", "correct element"),
        ("switch", 0, {"et": "x"}, "no-element", "error", "correct element"),
        ("line", 1, {"x_ohm_per_km": np.nan}, "missing-value", "error", "state x_ohm_per_km"),
        ("load", 0, {"p_mw": np.nan}, "missing-value", "error", "state p_mw"),
        ("line", 1, {"length_km": 0.0}, "impossible-value", "error", "correct length_km"),
        ("line", 1, {"length_km": -1.0}, "impossible-value", "error", "correct length_km"),
        ("trafo", 0, {"sn_mva": 0.0}, "impossible-value", "error", "correct s_mva"),
        ("line", 1, {"r_ohm_per_km": -0.1}, "impossible-impedance", "error", "ohm per km"),
        ("line", 1, {"r_ohm_per_km": 0.0, "x_ohm_per_km": 0.0}, "impossible-impedance", "error", "use a switch"),
        ("line", 1, {"c_nf_per_km": -1.0}, "impossible-impedance", "error", "correct it"),
        ("line", 1, {"x_ohm_per_km": 0.0}, "odd-impedance", "warning", "ohm per km"),
        ("line", 1, {"length_km": 1e-5}, "tiny-impedance", "warning", "use a switch"),
        ("line", 1, {"length_km": 1e6}, "odd-impedance", "warning", "unit"),
        ("line", 1, {"max_i_ka": np.nan}, "unrated", "info", "state max_i_ka"),
        ("trafo", 0, {"vk_percent": 0.0}, "impossible-impedance", "error", "percent"),
        ("trafo", 0, {"vk_percent": 0.12, "vkr_percent": 0.004}, "odd-impedance", "warning", "fraction"),
        ("trafo", 0, {"vkr_percent": 90.0}, "impossible-impedance", "error", "smaller one"),
        ("trafo", 0, {"vkr_percent": -1.0}, "impossible-impedance", "error", "percent"),
        ("trafo", 0, {"pfe_kw": 1e4}, "impossible-impedance", "error", "pfe_kw or i0_percent"),
        ("bus", 2, {"vn_kv": 0.0}, "voltage-level", "error", "nominal voltage"),
        ("bus", 4, {"min_vm_pu": 1.2, "max_vm_pu": 0.9}, "voltage-band", "warning", "correct the band"),
        ("trafo", 0, {"vn_lv_kv": 10.0}, "voltage-level", "error", "mixed up"),
        ("trafo", 0, {"vn_lv_kv": 24.0}, "voltage-level", "warning", "check the rated voltage"),
        ("trafo", 0, {"tap_pos": 3, "tap_side": None}, "missing-tap", "error", "state tap_side"),
        ("trafo", 0, {"tap_pos": 3, "tap_step_percent": np.nan}, "missing-tap", "error", "state tap_side"),
        ("trafo", 0, {"tap_changer_type": None}, "missing-tap", "warning", "Ratio"),
        ("trafo", 0, {"tap_pos": np.nan}, "missing-tap", "info", "state its tap changer"),
        ("trafo", 0, {"tap_pos": 99}, "tap-range", "error", "correct the position"),
        ("trafo", 0, {"tap_min": 9, "tap_max": -9}, "tap-range", "error", "exchange"),
        ("storage", 0, {"max_e_mwh": np.nan}, "missing-value", "warning", "state e_max_mwh"),
        ("storage", 0, {"soc_percent": 5000.0}, "impossible-value", "error", "fraction"),
        ("load", 0, {"p_mw": -1.0}, "sign", "warning", "meant so"),
        ("load", 0, {"const_z_p_percent": 30.0}, "unsupported", "info", "three-phase"),
        ("ext_grid", 0, {"vm_pu": 110.0}, "odd-voltage", "warning", "per unit"),
    ],
)
def test_one_mistake(kind: str, row: int, values: dict[str, Any], rule: str, level: str, mend: str) -> None:
    net = healthy()
    if kind == "storage":
        net[kind] = net[kind].astype(dict.fromkeys(values, float))
    set_(net, kind, row, **values)
    ours = "source" if kind == "ext_grid" else kind
    found = [f for f in findings(net) if (f.rule, f.level, f.kind) == (rule, level, ours) and mend in f.mend]
    assert [f.ids for f in found] == [(row,)], findings(net)
    assert str(found[0]).startswith(f"{level}: {ours} {row}: ")


def test_lines_and_switches_between_levels() -> None:
    net = healthy()
    set_(net, "bus", 7, vn_kv=0.4)
    set_(net, "line", 6, to_bus=7)
    found = findings(net)
    assert named(found, "voltage-level", "line") == [6]
    assert named(found, "voltage-level", "switch") == [1]


def test_sides_mixed_up() -> None:
    net = healthy()
    set_(net, "trafo", 1, hv_bus=1, lv_bus=0)
    assert [f.mend for f in findings(net) if f.level == "error"] == ["are the sides mixed up, or volts taken for kV?"] * 2


def test_a_bus_that_hangs_in_the_air() -> None:
    net = healthy()
    pp.create_bus(net, 20.0, index=50)
    found = findings(net)
    assert named(found, "dangling-bus", "bus") == [50]
    assert named(found, "no-supply", "bus") == []
    net.bus.loc[50, "in_service"] = False
    assert findings(net) == []


def test_parts_without_supply_and_how_they_could_have_some() -> None:
    net = ring()
    pp.create_load(net, 9, 0.1, index=4)
    net.line.loc[5, "in_service"] = False
    found = findings(net)
    parts = {f.ids: f.mend for f in found if f.rule == "no-supply"}
    assert parts == {
        (6,): "put line 5 in service",
        (7,): "connect them, or take them out of service",
        (8, 9): "connect them, or take them out of service",
    }
    assert named(found, "at-dead-bus", "load") == [4]
    net.line.loc[5, "in_service"] = True
    parts = {f.ids: f.mend for f in findings(net) if f.rule == "no-supply"}
    assert parts[(7,)] == "close switch 1"


def test_nothing_feeds_it() -> None:
    net = healthy()
    net.ext_grid.loc[0, "in_service"] = False
    (found,) = [f for f in findings(net) if f.level == "error"]
    assert str(found) == "error: network: nothing feeds the network; add a source (external grid) in service [no-source]"
    net.gen = net.gen.iloc[:0]
    with quiet():
        pp.create_gen(net, 1, 1.0, slack=True)
    assert [f for f in findings(net) if f.rule == "no-source"] == []


def test_all_at_once_errors_first() -> None:
    net = healthy()
    set_(net, "line", 1, r_ohm_per_km=-1.0, max_i_ka=np.nan)
    set_(net, "load", 0, p_mw=-1.0)
    set_(net, "trafo", 0, tap_pos=99)
    found = findings(net)
    assert [f.level for f in found] == ["error", "error", "warning", "info"]


def test_what_is_not_kept_and_what_an_engine_cannot_do() -> None:
    net, _ = load_source(resolve("pandapower:case9"))
    with quiet():
        pp.create_dcline(net, 3, 4, 0.1, 1.0, 0.0, 1.0, 1.0)
    found = validate(NetworkModel.of_pandapower(net), load_network("pandapower:case9"))
    (left,) = [f for f in found if f.rule == "unsupported" and f.kind == "dcline"]
    assert "static generator at each of its ends" in left.mend
    told = {f.message.partition(":")[0]: f.mend for f in found if f.rule == "engine" and f.kind == "network"}
    assert set(told) == {"engine tree cannot solve it", "engine current-injection cannot solve it"}
    assert all(told.values())
    (bound,) = [f for f in found if f.rule == "engine" and f.kind == "gen"]
    assert bound.ids == (0, 1)
    assert "reactive power" in bound.message


def test_every_engine_and_every_kind_of_element_is_spoken_for() -> None:
    """Whoever adds an engine says what it cannot do; whatever pandapower has and we have not, has something in its place."""
    assert set(LIMITS) == {*ENGINES, CurrentInjection.name}
    empty = pp.create_empty_network()
    theirs = [k for k, t in empty.items() if hasattr(t, "columns") and "in_service" in t and not k.startswith(("_", "res_"))]
    for kind in theirs:
        with quiet():
            empty[kind] = empty[kind].reindex([0]).assign(in_service=True)
    assert set(NetworkModel.of_pandapower(empty).unsupported) == set(NOT_KEPT)
    assert not any(NOT_KEPT[kind][0] for kind in REFUSED)


@pytest.mark.parametrize("kind", ["motor", "asymmetric_load", "asymmetric_sgen", "dcline"])
def test_what_engines_are_said_to_take_they_take(kind: str) -> None:
    """It changes the voltages as it does pandapower's."""
    net = healthy()
    with quiet():
        if kind == "motor":
            pp.create_motor(net, 4, 0.5, 0.9)
        elif kind == "dcline":
            pp.create_dcline(net, 3, 4, 0.2, 1.0, 0.01, 1.0, 1.0)
        else:
            getattr(pp, f"create_{kind}")(net, 4, 0.2, 0.1, 0.1)
        network = compile_network(net, "test", "")
        pp.runpp(net, calculate_voltage_angles=True, tolerance_mva=1e-9)
    v = network.bus_values(choose(network)[0].solve(*network.rated_injections()).v)
    assert np.nanmax(np.abs(np.abs(v) - net.res_bus.vm_pu.to_numpy())) < 1e-6
    (found,) = [f for f in findings(net) if f.rule == "unsupported"]
    assert found.kind == kind
    assert found.message == f"1 elements of the source are {kind}: engines take them, our format does not keep them"


def test_taps_that_nothing_moves() -> None:
    net = healthy()
    set_(net, "trafo", 0, tap_step_degree=30.0)
    found = validate(NetworkModel.of_pandapower(net), compile_network(net, "test", "x"))
    (fixed,) = [f for f in found if "nothing moves it" in f.message]
    assert (fixed.kind, fixed.ids) == ("trafo", (0,))


@pytest.mark.parametrize("spec", ["simbench:1-LV-rural1--0-sw", "pandapower:case33bw", "pandapower:case118"])
def test_networks_of_others_have_no_errors(spec: str) -> None:
    net, _ = load_source(resolve(spec))
    assert [str(f) for f in findings(net) if f.level == "error"] == []
