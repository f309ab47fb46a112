"""The smart inverter of IEEE 1547-2018, used by every device behind an inverter: PV, battery, electric vehicle.

`columns` names what stands where, `table` compiles settings, `respond` is what depends on the voltage of the same step,
`advance` the state machine that is carried once a step, `lanes` the fleet's inverters, `codes` the grid codes' defaults.
Not modelled: unbalance (a device has one voltage), dynamic voltage support, detection of unintentional islands.
"""

from __future__ import annotations

from twin.devices.inverter.lanes import Inverters

__all__ = ["Inverters"]
