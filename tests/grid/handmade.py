"""Small networks made by hand, written as pandapower JSON to a temporary directory."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pandapower as pp

from vpp.grid.source import quiet


def radial() -> Any:
    """A tree with everything: three windings, phase shift, taps, shunt, ward, switches, an island, gaps in the ids."""
    net = pp.create_empty_network("handmade radial", sn_mva=10.0)
    vn = {3: 110.0, 7: 20.0, 8: 10.0, 20: 20.0, 21: 20.0, 22: 20.0, 30: 0.4, 31: 0.4, 40: 10.0, 50: 20.0, 51: 20.0, 60: 20.0}
    for bus, kv in vn.items():
        pp.create_bus(net, kv, index=bus, name=f"B{bus}")
    net.bus.loc[7, "min_vm_pu"] = 0.95
    pp.create_ext_grid(net, 3, vm_pu=1.02, va_degree=10.0)
    pp.create_transformer3w_from_parameters(
        net, 3, 7, 8, 110, 20, 10, 40, 25, 15, 10.4, 10.6, 10.2, 0.3, 0.31, 0.32, 30, 0.1,
        shift_mv_degree=30, tap_side="hv", tap_step_percent=1.25, tap_pos=2, tap_neutral=0, tap_min=-8, tap_max=8,
        index=5, name="T3",
    )  # fmt: skip
    line = {"length_km": 2.0, "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.12, "c_nf_per_km": 250, "max_i_ka": 0.3}
    for index, (a, b) in {4: (7, 20), 9: (21, 22), 11: (8, 40), 12: (50, 51), 13: (22, 60)}.items():
        pp.create_line_from_parameters(net, a, b, index=index, name=f"L{index}", parallel=2 if index == 9 else 1, **line)
    pp.create_line_from_parameters(net, 20, 22, index=14, in_service=False, **line)
    pp.create_line_from_parameters(net, 22, 7, index=15, name="open at one end", **line)
    pp.create_switch(net, 20, 21, et="b", closed=True, index=2)
    pp.create_switch(net, 22, 50, et="b", closed=False, index=3)  # 50 and 51 are an island
    pp.create_switch(net, 7, 15, et="l", closed=False, index=6)
    pp.create_switch(net, 7, 4, et="l", closed=True, index=8)
    pp.create_transformer_from_parameters(
        net, 22, 30, 0.63, 20.5, 0.41, 1.2, 5.0, 1.1, 0.2, shift_degree=150, tap_side="hv", tap_step_percent=2.5,
        tap_pos=-2, tap_neutral=0, tap_min=-2, tap_max=2, parallel=2, df=0.9, index=70, name="T2",
    )  # fmt: skip
    net.trafo["tap_changer_type"] = None
    net.trafo3w["tap_changer_type"] = None
    pp.create_line_from_parameters(net, 30, 31, 0.2, 0.2, 0.08, 200, 0.27, index=90)
    pp.create_shunt(net, 21, q_mvar=-0.4, p_mw=0.01)
    pp.create_ward(net, 40, 0.2, 0.05, 0.1, -0.1)
    pp.create_load(net, 31, 0.12, 0.04, name="H", index=8)
    pp.create_load(net, 22, 1.5, 0.4, scaling=0.8)
    pp.create_load(net, 20, 5.0, 1.0, in_service=False)
    pp.create_load(net, 51, 0.5, 0.1)
    pp.create_load(net, 8, 3.0, 1.0)
    pp.create_sgen(net, 30, 0.3, 0.02, sn_mva=0.35, type="PV")
    pp.create_storage(net, 30, p_mw=0.05, max_e_mwh=0.2, soc_percent=40, q_mvar=0.01)
    net.bus.at[60, "in_service"] = False
    return net


def meshed() -> Any:
    """A ring with a PV generator, an impedance, an extended ward and two sources."""
    net = radial()
    net.name = "handmade meshed"
    net.switch.at[3, "closed"] = True
    pp.create_line_from_parameters(net, 51, 7, 3.0, 0.2, 0.12, 250, 0.3, index=101)
    pp.create_gen(net, 22, p_mw=0.6, vm_pu=1.01, index=4)
    pp.create_impedance(net, 20, 51, 0.02, 0.05, 10.0, rtf_pu=0.03, xtf_pu=0.06)
    pp.create_xward(net, 40, 0.1, 0.02, 0.05, 0.0, 0.1, 0.3, 1.0)
    pp.create_bus(net, 110.0, index=200)
    pp.create_ext_grid(net, 200, vm_pu=1.01, va_degree=9.0)
    pp.create_line_from_parameters(net, 200, 3, 20.0, 0.06, 0.4, 9, 0.6, index=201)
    return net


@cache
def spec_of(name: str) -> str:
    """Write a network ("handmade:radial") to a file once and return its specification."""
    if not name.startswith("handmade:"):
        return name
    path = Path(tempfile.mkdtemp(prefix="vpp-handmade-")) / f"{name.partition(':')[2]}.json"
    with quiet():
        pp.to_json({"radial": radial, "meshed": meshed}[path.stem](), str(path))
    return f"file:{path}"
