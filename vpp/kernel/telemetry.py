"""What the resources report: measured signals with a quality and a source time each."""

from __future__ import annotations

from typing import Self

import numpy as np

from vpp.kernel.signals import ByteArray, FloatArray, IntArray, Signal, Signals


class Telemetry(Signals):
    """Measured signals of the fleet. NaN = not known."""

    __slots__ = ("quality", "time_ns")
    p_mw = Signal("MW", "active power at the terminals, injection positive", resolution=1e-6)
    q_mvar = Signal("Mvar", "reactive power at the terminals, injection positive", resolution=1e-6)
    vm_pu = Signal("pu", "voltage magnitude at the terminals by the device's own measuring rule", resolution=1e-6)
    f_hz = Signal("Hz", "frequency at the terminals", resolution=1e-4)
    soc = Signal("1", "state of charge, 0 empty to 1 full", resolution=1e-6)
    p_avail_min_mw = Signal("MW", "lowest active power that could be delivered now, injection positive", resolution=1e-6)
    p_avail_max_mw = Signal("MW", "highest active power that could be delivered now, injection positive", resolution=1e-6)
    e_need_mwh = Signal("MWh", "energy still to be taken up until departure or another deadline", resolution=1e-6)
    t_depart_s = Signal("s", "time until departure or another deadline", resolution=1.0)

    def __init__(self, block: FloatArray, quality: ByteArray | None = None, time_ns: IntArray | None = None) -> None:
        """Wrap a block; quality (u1) and source time (i8) have the block's shape, good and 0 by default."""
        super().__init__(block)
        self.quality = np.zeros(block.shape, np.uint8) if quality is None else quality
        self.time_ns = np.zeros(block.shape, np.int64) if time_ns is None else time_ns

    def copy(self) -> Self:
        """Copy block, quality and time."""
        return type(self)(self.block.copy(), self.quality.copy(), self.time_ns.copy())
