"""The record as a mosaik simulator: the network's ``truth`` and the tick's ``record`` in, nothing out.

Without controllers there is no tick: then the plant's ``image`` comes in place of its record.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twin.cosim.simulator import OneEntity, Sheets
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import only_watch


class RecordSim(OneEntity):
    """Hands every step to a recorder."""

    model: ClassVar[str] = "Record"
    inputs: ClassVar[Sheets] = {"truth": None, "record": None, "image": None}
    outputs: ClassVar[Sheets] = {}

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Take the recorder: anything that can be called with (k, tick record, truth, offer); and the steps' times."""
        self.spent = params.get("spent", self.spent)
        self.recorder = params["recorder"]
        self.time_ns, self.nothing = params["time_ns"], Asked.nothing(params["n"])
        return self.meta

    def turn(self, k: int, given: dict[str, Any]) -> dict[str, Any]:
        """Record."""
        truth, offer = given["truth"]
        record = given["record"] if "record" in given else only_watch(int(self.time_ns[k]), given["image"], self.nothing)
        self.recorder(k, record, truth, offer)
        return {}
