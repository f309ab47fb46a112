"""Small fleets on a weak feeder made by hand, for the tests of the twin."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp

from twin.coupling import Coupling
from twin.devices.model import Offer
from twin.fleet import FleetModel
from twin.frequency import FrequencyProfile
from twin.plant import GridModel, TwinPlant
from twin.sensors import SensorErrors, Sensors
from twin.series import ProfileTable
from twin.spec import FleetSpec
from vpp.grid import Network, load_network
from vpp.grid.powerflow import ENGINES
from vpp.grid.source import quiet
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Capability, Terminals, simple_fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.settings import Settings

# IEEE 1547-2018, Table 8 (volt-var, categories A and B) and Table 10 (volt-watt): voltages, powers, response time.
A = ((0.90, 1.00, 1.00, 1.10), (0.25, 0.0, 0.0, -0.25), 10.0)
B = ((0.92, 0.98, 1.02, 1.08), (0.44, 0.0, 0.0, -0.44), 5.0)
CUSTOM = ((0.93, 0.97, 1.01, 1.04), (0.60, 0.10, -0.05, -0.55), 2.0)
VOLT_WATT = ((1.06, 1.10), (1.0, 0.0), 10.0)

Curve = tuple[tuple[float, ...], tuple[float, ...], float]
STEP_NS = 900 * 10**9
HOUSES = 5
ISLAND = HOUSES + 2  # a bus behind an open switch


@dataclass
class Resources:
    """Columns of a fleet in the making."""

    kind: list[str] = field(default_factory=list)
    bus: list[int] = field(default_factory=list)
    columns: list[dict[str, float]] = field(default_factory=list)
    curves: list[tuple[Curve | None, Curve | None]] = field(default_factory=list)

    def add(
        self, kind: str, bus: int, volt_var: Curve | None = None, volt_watt: Curve | None = None, **columns: float
    ) -> Resources:
        """Add one; columns: p_mw, q_mvar, s_mva, e_mwh, soc, efficiency, profile_p, profile_q."""
        self.kind.append(kind)
        self.bus.append(bus)
        self.columns.append(columns)
        self.curves.append((volt_var, volt_watt))
        return self

    def spec(self, network: Network | None = None, profiles: ProfileTable | None = None) -> FleetSpec:
        """Make the fleet's parameters; without a network every resource is on node 0."""
        n = len(self.kind)
        kind = np.array(self.kind)

        def column(name: str, default: float) -> np.ndarray[Any, Any]:
            return np.array([c.get(name, default) for c in self.columns])

        p, s = column("p_mw", 0.0), np.where(kind == "load", 0.0, column("s_mva", 0.0))
        efficiency = column("efficiency", 1.0)
        p_inverter = np.minimum(p, s)
        # As IEEE 1547-2018, 5.2: 44 % of nameplate, less below 20 % of rated power for what is no storage.
        p_pu = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
        q_pu = np.array([[0.0, 0.0, 0.11, 0.44, 0.44], [0.44] * 5])
        table = np.where(kind == "battery", 1, 0).astype(np.int32)
        capability = Capability(s, np.full(n, np.inf), table, p_pu, -q_pu, q_pu, np.ones(n, np.bool_))
        node = np.zeros(n, np.int32) if network is None else network.node_of_bus[np.array(self.bus)]
        fleet = simple_fleet(
            np.where(kind == "load", -p, np.where(kind == "battery", -p_inverter, 0.0)),
            np.where(kind == "load", 0.0, p_inverter),
            kind=tuple(self.kind),
            control=np.select([kind == "battery", kind == "pv"], [CONTROL_FOLLOW, CONTROL_LIMIT], CONTROL_NONE),
            terminal=Terminals.single(node),
            e_mwh=column("e_mwh", 0.0),
            eff_charge=efficiency,
            eff_discharge=efficiency,
            capability=capability,
        )
        return FleetSpec(
            fleet, p, column("q_mvar", 0.0), s, np.where(kind == "battery", column("soc", 0.5), np.nan),
            column("profile_p", -1).astype(np.int32), column("profile_q", -1).astype(np.int32),
            self.settings(), profiles or ProfileTable.constant(1, np.ones(1)),
        )  # fmt: skip

    def settings(self) -> Settings:
        """The inverters' curves."""
        sheet = Settings.full(len(self.kind), 0.0)
        for i, (volt_var, volt_watt) in enumerate(self.curves):
            for prefix, curve in (("qv", volt_var), ("pv", volt_watt)):
                if curve is not None:
                    values = {"enable": 1.0, "olrt_s": curve[2]}
                    values |= {f"v{k}_pu": v for k, v in enumerate(curve[0], 1)}
                    values |= {f"{'q' if prefix == 'qv' else 'p'}{k}_pu": y for k, y in enumerate(curve[1], 1)}
                    for name, value in values.items():
                        getattr(sheet, f"{prefix}_{name}")[i] = value
        return sheet


@cache
def feeder(r_per_km: float = 0.64, mesh: bool = False) -> Network:
    """20 kV source, 250 kVA transformer, then houses every 150 m; one bus more behind an open switch."""
    net = pp.create_empty_network("weak feeder", sn_mva=1.0)
    with quiet():
        mv = pp.create_bus(net, 20.0, name="MV")
        pp.create_ext_grid(net, mv, vm_pu=1.02)
        lv = [pp.create_bus(net, 0.4, name=f"LV {i}") for i in range(HOUSES + 2)]
        pp.create_transformer(net, mv, lv[0], "0.25 MVA 20/0.4 kV")
        line = {"length_km": 0.15, "r_ohm_per_km": r_per_km, "x_ohm_per_km": 0.083, "c_nf_per_km": 210, "max_i_ka": 0.142}
        for a, b in pairwise(lv[:-1]):
            pp.create_line_from_parameters(net, a, b, **line)
        if mesh:
            pp.create_line_from_parameters(net, lv[0], lv[HOUSES], **line)
        pp.create_switch(net, lv[HOUSES], lv[HOUSES + 1], et="b", closed=False)
        path = Path(tempfile.mkdtemp(prefix="vpp-feeder-")) / "feeder.json"
        pp.to_json(net, str(path))
        return load_network(f"file:{path}", cache=False)


def village(volt_var: Curve | None = B, volt_watt: Curve | None = None, pv_mw: float = 0.03) -> Resources:
    """A load and a PV at every house, two batteries; a load and a PV behind the open switch."""
    fleet = Resources()
    for house in range(HOUSES):
        fleet.add("load", 2 + house, p_mw=0.004 + 0.001 * house, q_mvar=-0.001)
        fleet.add("pv", 2 + house, volt_var, volt_watt, p_mw=pv_mw * (1 + 0.1 * house), s_mva=1.1 * pv_mw * (1 + 0.1 * house))
    for house in (1, 3):
        fleet.add("battery", 2 + house, volt_var, volt_watt, p_mw=0.01, s_mva=0.011, e_mwh=0.02, efficiency=0.95)
    fleet.add("load", ISLAND, p_mw=0.004)
    return fleet.add("pv", ISLAND, volt_var, p_mw=0.01, s_mva=0.011)


def coupling(fleet: Resources, network: Network | None = None, engine: str = "tree") -> tuple[Coupling, FleetSpec]:
    """A fleet's terminals on a network with this engine."""
    network = network or feeder()
    spec = fleet.spec(network)
    return Coupling(network, ENGINES[engine](network), spec), spec


def offer(spec: FleetSpec, p_mw: Any = None, factor: float = 1.0) -> Offer:
    """What devices offer with nothing commanded: loads and PV their rating times ``factor``, batteries nothing."""
    sheet = FleetModel(spec).step(0, 900.0, None, None)
    sheet.p_mw = sheet.p_mw * factor if p_mw is None else p_mw
    sheet.q_mvar = sheet.q_mvar * factor
    return sheet


def plant(
    fleet: Resources, steps: int, errors: SensorErrors | None = None, seed: int = 7, engine: str = "tree", dt_s: float = 900.0
) -> TwinPlant:
    """A whole twin on the weak feeder, PV and loads with a profile that changes every step."""
    network = feeder()
    rows = 0.55 + 0.45 * np.sin(np.arange(steps) * 0.7)
    for column in fleet.columns:
        column["profile_p"] = 0.0
    spec = fleet.spec(network, ProfileTable(rows.astype(np.float32)[:, None], np.arange(steps)))
    layout = PointLayout(("pcc_p_mw", "pcc_q_mvar"), ("p_mw", "q_mvar"), ("pcc", "pcc"))
    sensors = Sensors(spec.fleet, np.maximum(spec.p_rated_mw, spec.s_rated_mva), layout, errors or SensorErrors(), seed)
    grid = GridModel(Coupling(network, ENGINES[engine](network), spec), sensors, FrequencyProfile.constant(50.0))
    time_ns = 1_466_460_000 * 10**9 + round(dt_s * 1e9) * np.arange(steps)
    return TwinPlant(FleetModel(spec), grid, time_ns, dt_s)
