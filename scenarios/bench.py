"""Targets of the test bench that need the twin: its inverter as a device of its own, in virtual time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Limits, Nameplate
from hil.bench.ranges import usual_limits
from hil.bench.simulated import laboratory
from twin.devices.inverter import Inverters
from twin.devices.inverter.grid_code import load_code
from vpp import __version__
from vpp.kernel.fleet import Capability, simple_fleet
from vpp.kernel.settings import Settings

S_MVA, Q_PU = 0.1, 0.44


class InverterModel:
    """One PV inverter of the twin with the settings of a grid code.

    Subclasses may override `acts_by` and `step`: a device that does something else than it says.
    """

    def __init__(self, code: str = "ieee1547-2018", f_nom_hz: float = 60.0, category: str | None = None) -> None:
        """Make it; ``category`` is of ride-through."""
        held = load_code(code, ride_through=category).at(f_nom_hz).values
        self._held = {name: float(held.get(name, 0.0)) for name in Settings.names}
        self.nameplate = Nameplate(S_MVA, S_MVA, Q_PU * S_MVA, Q_PU * S_MVA, f_nom_hz, category=int(self._held["rt_category"]))
        p_pu = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0]])
        q_pu = np.array([[0.0, 0.0, Q_PU / 4.0, Q_PU, Q_PU]])
        s, one = np.array([S_MVA]), np.ones(1)
        capability = Capability(s, one * np.inf, np.zeros(1, np.int32), p_pu, -q_pu, q_pu, np.ones(1, np.bool_))
        fleet = simple_fleet(np.zeros(1), s, capability=capability)
        self.inverters = Inverters.of(fleet, s, self._sheet())

    def acts_by(self, held: Mapping[str, float]) -> Mapping[str, float]:
        """The settings that it acts by: those that it holds."""
        return held

    def _sheet(self) -> Settings:
        acts = self.acts_by(self._held)
        return Settings(np.array([[acts[name]] for name in Settings.names]))

    def identity(self) -> Mapping[str, str]:
        """What it is."""
        return {"manufacturer": "VPP Core", "model": "inverter of the twin", "firmware": __version__}

    def limits(self) -> Mapping[str, Limits]:
        """Every setting of the kernel."""
        return usual_limits(Settings.names)

    def write(self, values: Mapping[str, float]) -> None:
        """Hold them; they act after the device's own execution delay."""
        self._held.update(values)
        self.inverters.adopt(self._sheet(), np.zeros(1, np.int64))

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds."""
        return {name: self._held[name] for name in names}

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        """One step of the kernel."""
        p, q = self.inverters.step(dt_s, vm_pu, f_hz, p_mw, permit=float(permit))[:, 0]
        return float(p), float(q)


def model() -> Laboratory:
    """The twin's inverter with the defaults of IEEE 1547-2018, category B and III."""
    return laboratory(InverterModel(), "model")
