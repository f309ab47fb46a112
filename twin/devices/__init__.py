"""Device models. A new one is a file here and a line in `DEVICES`, or an entry point in the group ``vpp.devices``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from twin.devices.battery import Battery
from twin.devices.chp import Chp
from twin.devices.ev import Ev
from twin.devices.flexible_load import FlexibleLoad
from twin.devices.fmu import Fmu
from twin.devices.genset import Genset
from twin.devices.heat_pump import HeatPump
from twin.devices.hydro import Hydro
from twin.devices.load import Load
from twin.devices.model import DeviceModel
from twin.devices.pv import Pv
from twin.devices.shiftable_load import ShiftableLoad
from twin.devices.step import Capacitor, TapChanger
from twin.devices.wind import Wind

DEVICES: dict[str, type[DeviceModel]] = {
    "load": Load,
    "pv": Pv,
    "battery": Battery,
    "wind": Wind,
    "heat_pump": HeatPump,
    "chp": Chp,
    "hydro": Hydro,
    "genset": Genset,
    "flexible_load": FlexibleLoad,
    "shiftable_load": ShiftableLoad,
    "ev": Ev,
    "fmu": Fmu,
    "tap_changer": TapChanger,
    "capacitor": Capacitor,
}


@cache
def load_installed() -> None:
    """Add the models of other packages: ``name = "package.module:Model"`` in the entry points' group ``vpp.devices``.

    Whoever reads `DEVICES` as a whole calls it first; importing a device alone does not, so that such a package may import ours.
    """
    for plug in entry_points(group="vpp.devices"):
        if plug.name not in DEVICES:
            DEVICES[plug.name] = plug.load()
