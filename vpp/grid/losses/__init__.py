"""Least losses: Volt/VAR optimisation and reconfiguration."""

from vpp.grid.losses.problem import Breach, Devices, Limits, VoltVar, breaches
from vpp.grid.losses.reconfigure import Reconfiguration, reconfigure
from vpp.grid.losses.volt_var import VoltVarOptimiser, volt_var

__all__ = ["Breach", "Devices", "Limits", "Reconfiguration", "VoltVar", "VoltVarOptimiser", "breaches", "reconfigure", "volt_var"]
