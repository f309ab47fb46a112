"""Device models. A new one is a file here and a line in `DEVICES`."""

from __future__ import annotations

from twin.devices.battery import Battery
from twin.devices.fmu import Fmu
from twin.devices.load import Load
from twin.devices.model import DeviceModel
from twin.devices.pv import Pv
from twin.devices.wind import Wind

DEVICES: dict[str, type[DeviceModel]] = {
    "load": Load,
    "pv": Pv,
    "battery": Battery,
    "wind": Wind,
    "fmu": Fmu,
}
