"""Scenarios with functional mock-up units on a weak feeder, for the tests."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandapower as pp

from tests.twin.units.build import build_boiler, build_store
from vpp.grid.source import quiet

STREET = """\
# A store and boilers from other people's tools on a weak feeder.
network: file:street.json
time: {start: 2016-06-21, zone: UTC, steps: 24}
fleet:
  - {id: house, kind: load, at: {buses: [LV 2, LV 3]}, p_mw: 0.004, profile: "file:day.csv"}
  - id: store
    kind: fmu
    at: {buses: [LV 2]}
    file: file:Store.fmu
    p_mw: 0.006
    s_mva: 0.007
    e_mwh: 0.01
    communication_step_s: 300
    parameters: {capacity_kwh: 10.0}
    inputs:
      p_set_kw: {of: p_mw, scale: -1000}
      u_pu: vm_pu
      f_hz: f_hz
    outputs:
      p_mw: {variable: p_kw, scale: -0.001}
      q_mvar: {variable: q_kvar, scale: -0.001}
      soc: soc
  - id: boiler
    kind: fmu
    at: {buses: [LV 1, LV 3]}
    file: file:boiler.fmu
    flow: takes
    p_mw: 0.006
    expected_p_mw: -0.001
    parameters: {legs: 2, label: kitchen}
    inputs:
      draw: {of: "file:day.csv", scale: 2.0}
      p_set: {of: "file:day.csv", scale: 4.0}
      enable: connect
    outputs:
      p_mw: {variable: p, scale: -1.0e-6}
      soc: {variable: charge, scale: 0.01}
frequency: {profile: [[0, 50.0], [7200, 50.1], [21600, 49.9]]}
orders:
  - {resources: store, p_mw: -0.005, at: "00:30", until: "02:30", author: test}
  - {resources: store, p_mw: 0.004, at: "03:00", until: "05:00", author: test}
control:
  proposers: [{use: orders}]
record: [asked, delivered, soc, voltage, quality, telemetry, cause]
"""


def street(folder: Path, text: str = STREET, name: str = "street.yaml") -> Path:
    """Write the scenario with all its files into a folder; returns the scenario's."""
    net = pp.create_empty_network("street", sn_mva=1.0)
    with quiet():
        mv = pp.create_bus(net, 20.0, name="MV")
        pp.create_ext_grid(net, mv, vm_pu=1.0)
        lv = [pp.create_bus(net, 0.4, name=f"LV {i}") for i in range(4)]
        pp.create_transformer(net, mv, lv[0], "0.25 MVA 20/0.4 kV")
        line = {"length_km": 0.3, "r_ohm_per_km": 0.64, "x_ohm_per_km": 0.083, "c_nf_per_km": 210, "max_i_ka": 0.142}
        for a, b in pairwise(lv):
            pp.create_line_from_parameters(net, a, b, **line)
        pp.to_json(net, str(folder / "street.json"))
    (folder / "day.csv").write_text("factor\n" + "".join(f"{0.3 + 0.7 * (h % 4) / 3:.3f}\n" for h in range(24)))
    if not (folder / "Store.fmu").exists():
        build_store(folder)
        build_boiler(folder)
    path = folder / name
    path.write_text(text)
    return path
