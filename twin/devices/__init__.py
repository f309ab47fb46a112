"""Device models. A new one is a file here and a line in `DEVICES`."""

from __future__ import annotations

from twin.devices.battery import Battery
from twin.devices.chp import Chp
from twin.devices.flexible_load import FlexibleLoad
from twin.devices.genset import Genset
from twin.devices.heat_pump import HeatPump
from twin.devices.hydro import Hydro
from twin.devices.load import Load
from twin.devices.model import DeviceModel
from twin.devices.pv import Pv
from twin.devices.wind import Wind
from twin.devices.shiftable_load import ShiftableLoad

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
}
