"""The fleet as a mosaik simulator: ``asked``, ``delivered``, ``frequency`` of the step before in, ``offer``, ``applied`` out.

It can run in a process of its own: ``python -m twin.cosim.fleet_sim ADDRESS --spec FILE``.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import mosaik_api_v3
from mosaik_api_v3.connection import EndOfRequests

from twin.cosim.codec import unpack
from twin.cosim.simulator import OneEntity, Sheets
from twin.devices.model import Delivered, Offer
from twin.fleet import FleetModel
from vpp.kernel.setpoints import Setpoints


class FleetSim(OneEntity):
    """All devices."""

    model: ClassVar[str] = "Fleet"
    inputs: ClassVar[Sheets] = {"asked": Setpoints, "delivered": Delivered, "frequency": None}
    outputs: ClassVar[Sheets] = {"offer": Offer, "applied": Setpoints}

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Take the devices: a `FleetModel`, or in a process of its own the file of its `FleetSpec`."""
        self.spent = params.get("spent", self.spent)
        self.dt_s = float(time_resolution)
        if "spec_file" in params:
            self.packed = True
            self.devices = FleetModel(pickle.loads(Path(params["spec_file"]).read_bytes()))
        else:
            self.devices = params["devices"]
            self.packed = bool(params.get("packed", False))
        return self.meta

    def turn(self, k: int, given: dict[str, Any]) -> dict[str, Any]:
        """Settle, adopt, offer."""
        asked, delivered = unpack(given.get("asked")), unpack(given.get("delivered"))
        setpoints = Setpoints(asked) if asked is not None else None
        if delivered is None:
            offer = self.devices.step(k, self.dt_s, setpoints, None)
        else:
            before = Delivered(delivered)
            offer = self.devices.step(k, self.dt_s, setpoints, before.p_mw, before.vm_pu, float(given["frequency"]))
        return {"offer": offer.block, "applied": self.devices.applied.block}


def _end_with(parent: int) -> None:
    """End this process as soon as its parent is another one: then the first was killed."""
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)


def main() -> None:
    """Run as a process of its own, started by mosaik; it ends with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with suppress(EndOfRequests):  # the one that started us is gone; there is nobody to tell
        mosaik_api_v3.start_simulation(FleetSim(), "The fleet of a VPP Core scenario")


if __name__ == "__main__":
    main()
