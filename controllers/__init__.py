"""The controllers: each a class built as ``Controller(fleet, **parameters)``, under its name in a scenario.

Those that know the network are built as ``Controller(fleet, network, steps, **parameters)``; ``steps`` says which
resources hold its tap changers and shunts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from controllers.grid.network import NetworkGuard
from controllers.grid.pcc import PccGuard
from controllers.grid.volt_var import VoltVarController
from controllers.grid.voltage import OverVoltageGuard, UnderVoltageGuard
from controllers.resource.follow import ScheduleFollower
from controllers.resource.need import NeedProposer
from controllers.resource.orders import OperatorOrders
from controllers.resource.performance import PerformanceGuard
from controllers.resource.ramp import RampGuard
from controllers.resource.soc import SocGuard
from vpp.kernel.ports import Controller

PROPOSERS: Final[Mapping[str, Callable[..., Controller]]] = {
    "schedule": ScheduleFollower,
    "need": NeedProposer,
    "orders": OperatorOrders,
}
GUARDS: Final[Mapping[str, Callable[..., Controller]]] = {
    "over_voltage": OverVoltageGuard,
    "under_voltage": UnderVoltageGuard,
    "soc": SocGuard,
    "ramp": RampGuard,
    "pcc": PccGuard,
    "performance": PerformanceGuard,
}
NETWORK_GUARDS: Final[Mapping[str, Callable[..., Controller]]] = {"network": NetworkGuard}
NETWORK_PROPOSERS: Final[Mapping[str, Callable[..., Controller]]] = {"volt_var": VoltVarController}
