"""The controllers as a mosaik simulator: the plant's ``image`` in, ``asked`` and the ``record`` of the tick out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from twin.cosim.codec import pack
from twin.cosim.simulator import OneEntity, Sheets
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.tick import tick


@dataclass(slots=True)
class FarPlant:
    """The plant as this simulator sees it: what arrived is read, what is written is sent."""

    fleet: Fleet
    image: Observation | None = None
    asked: Asked | None = None

    def read(self, now_ns: int) -> Observation:
        """Give the image that arrived in this step."""
        if self.image is None:
            raise RuntimeError("no image has arrived")
        return self.image

    def write(self, now_ns: int, asked: Asked) -> None:
        """Keep what is asked for the way back."""
        self.asked = asked


class ControlSim(OneEntity):
    """One tick of the chain a step."""

    model: ClassVar[str] = "Control"
    inputs: ClassVar[Sheets] = {"image": None}
    outputs: ClassVar[Sheets] = {"asked": Setpoints, "record": None}

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Take the chain, the inbox, the times of the steps and whether the fleet is in another process."""
        self.spent = params.get("spent", self.spent)
        self.chain, self.inbox, self.time_ns = params["chain"], params["inbox"], params["time_ns"]
        self.far = bool(params["far"])
        self.plant = FarPlant(self.chain.fleet)
        self.last = Asked.nothing(self.chain.fleet.n)
        return self.meta

    def turn(self, k: int, given: dict[str, Any]) -> dict[str, Any]:
        """Tick."""
        self.plant.image = given["image"]
        record = tick(int(self.time_ns[k]), self.plant, self.inbox, self.chain, self.last)
        self.last = record.decision.asked
        block = self.last.setpoints.block
        return {"asked": pack(block) if self.far else block, "record": record}
