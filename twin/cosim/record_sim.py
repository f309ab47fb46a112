"""The record as a mosaik simulator: the network's ``truth`` and the tick's ``record`` in, nothing out."""

from __future__ import annotations

from typing import Any, ClassVar

from twin.cosim.simulator import OneEntity, Sheets


class RecordSim(OneEntity):
    """Hands every step to a recorder."""

    model: ClassVar[str] = "Record"
    inputs: ClassVar[Sheets] = {"truth": None, "record": None}
    outputs: ClassVar[Sheets] = {}

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Take the recorder: anything that can be called with (k, tick record, truth, offer)."""
        self.spent = params.get("spent", self.spent)
        self.recorder = params["recorder"]
        return self.meta

    def turn(self, k: int, given: dict[str, Any]) -> dict[str, Any]:
        """Record."""
        truth, offer = given["truth"]
        self.recorder(k, given["record"], truth, offer)
        return {}
