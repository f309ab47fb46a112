"""Emulated devices act by the settings in their registers: a twin that heeds what a wire has written and adopted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hil.outlets import SunSpecOutlet
from twin.devices.inverter.grid_code import load_code
from twin.plant import TwinPlant
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Asked
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, IntArray

# Settings that the registers say, but that an emulated device is asked for as setpoints.
ASKED: Final = ("ap_limit_enable", "ap_limit_pu", "const_q_enable", "const_q_pu")
# Functions: their settings begin so. A device that was given none of one's shows the defaults of the standard, switched off.
FUNCTIONS: Final = ("qv_", "const_pf", "qp_", "pv_", "pf_", "es_", "mc_", "[ou][vf][12]_trip_")
DEFAULTS: Final = "ieee1547-2018"
NOMINAL_HZ: Final = 50.0  # of a device that says nothing else (`Settings.f_nom_hz`)


def with_defaults(settings: Settings) -> FloatArray:
    """The block of settings, functions that nobody has set filled in with the standard's defaults and switched off."""
    block = settings.block.copy()
    for f_hz in np.unique(block[Settings.f_nom_hz.row]):
        code = load_code(DEFAULTS).at(float(f_hz) or NOMINAL_HZ).values
        here = np.flatnonzero(settings.f_nom_hz == f_hz)
        for pattern in FUNCTIONS:
            mine = [s for s in Settings.signals if re.match(pattern, s.name)]
            rows = np.array([s.row for s in mine], np.int64)
            empty = here[~np.any(block[np.ix_(rows, here)], axis=0)]
            for s in mine:
                block[s.row, empty] = 0.0 if s.name.endswith("_enable") else code.get(s.name, 0.0)
    return block


@dataclass
class Heeding:
    """A twin behind outlets: before each step its inverters adopt what has changed in the registers.

    Attributes:
        plant: the twin.
        outlets: its SunSpec devices; their registers begin with the settings that the twin has.
        adopted: how many devices have adopted something.
    """

    plant: TwinPlant
    outlets: Sequence[SunSpecOutlet]
    adopted: int = 0
    _sheet: FloatArray = field(init=False)
    _told: list[dict[str, FloatArray]] = field(init=False)
    _seen: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Fill in the registers."""
        spec = self.plant.devices.spec
        self._sheet = with_defaults(spec.settings)
        self._told, self._seen = [], []
        for outlet in self.outlets:
            mine = {s.name: self._sheet[s.row, outlet.column] for s in Settings.signals if s.name not in ASKED}
            outlet.ders.hold(mine)
            self._told.append(outlet.ders.settings())
            self._seen.append(outlet.ders.said())

    @property
    def fleet(self) -> Fleet:
        """The resources."""
        return self.plant.fleet

    def advance(self) -> Any:
        """Have settings adopted that have changed; then simulate the next step."""
        for number, outlet in enumerate(self.outlets):
            said = outlet.ders.said()
            if said != self._seen[number]:
                self._seen[number] = said
                self._heed(number, outlet)
        return self.plant.advance()

    def read(self, now_ns: int) -> Observation:
        """What is measured."""
        return self.plant.read(now_ns)

    def write(self, now_ns: int, asked: Asked) -> None:
        """What the devices shall hold from the next step on."""
        self.plant.write(now_ns, asked)

    def _heed(self, number: int, outlet: SunSpecOutlet) -> None:
        before, said = self._told[number], outlet.ders.settings()
        self._told[number] = said
        moved = np.zeros(outlet.column.size, np.bool_)
        for signal in Settings.signals:
            if signal.name in said and signal.name not in ASKED:
                value = said[signal.name]
                changed = (value != before[signal.name]) & np.isfinite(value)
                self._sheet[signal.row, outlet.column[changed]] = value[changed]
                moved |= changed
        at: IntArray = outlet.column[moved & (self.plant.devices.spec.s_rated_mva[outlet.column] > 0.0)]
        if at.size:
            self.plant.grid.coupling.inverters.adopt(Settings(self._sheet[:, at]), at)
            self.adopted += int(at.size)
