"""The network, its terminals and meters as a mosaik simulator: ``offer`` in, ``delivered`` and ``image`` out."""

from __future__ import annotations

from typing import Any, ClassVar

from twin.cosim.codec import pack, unpack
from twin.cosim.simulator import OneEntity, Sheets
from twin.devices.model import Delivered, Offer
from vpp.kernel.setpoints import Setpoints


class GridSim(OneEntity):
    """Devices and power flow solved together; measured by the sensors."""

    model: ClassVar[str] = "Grid"
    inputs: ClassVar[Sheets] = {"offer": Offer, "applied": Setpoints}
    outputs: ClassVar[Sheets] = {"delivered": Delivered, "frequency": None, "truth": None, "image": None}

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Take the `GridModel`, the times of the steps and whether the fleet is in another process."""
        self.spent = params.get("spent", self.spent)
        self.dt_s = float(time_resolution)
        self.grid, self.time_ns, self.far = params["grid"], params["time_ns"], bool(params["far"])
        return self.meta

    def turn(self, k: int, given: dict[str, Any]) -> dict[str, Any]:
        """Solve and measure."""
        offer, applied = (unpack(given[name]) for name in ("offer", "applied"))
        if offer is None or applied is None:
            raise RuntimeError("the fleet sent nothing")
        sheet = Offer(offer)
        truth, image = self.grid.step(int(self.time_ns[k]), k * self.dt_s, self.dt_s, sheet, Setpoints(applied))
        delivered = truth.solved.delivered.block
        told = {"delivered": pack(delivered) if self.far else delivered, "frequency": truth.f_hz}
        return {**told, "truth": (truth, sheet), "image": image}
