"""The estimator of a network whose tap changers and shunts move: its model goes where they are said to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controllers.estimation.service import GridEstimator
from vpp.grid.network import Network
from vpp.grid.stepping import SteppedNetwork
from vpp.kernel.grid_state import GridState
from vpp.kernel.ports import Frame


@dataclass(slots=True)
class SteppedEstimator:
    """Compiles the estimator anew where a step has moved; it goes on from the voltages of the last estimate.

    Attributes:
        stepped: the network, and which resources hold its steps.
        make: builds the estimator of a network.
        now: the estimator at the present steps.
    """

    stepped: SteppedNetwork
    make: Callable[[Network], GridEstimator]
    now: GridEstimator = field(init=False)

    def __post_init__(self) -> None:
        """Begin where the network was compiled."""
        self.now = self.make(self.stepped.now)

    def estimate(self, frame: Frame) -> GridState:
        """Estimate at the steps that the frame says are held."""
        if frame.held is not None:
            self._go(frame.held)
        return self.now.estimate(frame)

    def _go(self, held: Any) -> None:
        if self.stepped.take(held):
            before = self.now.state()
            self.now = self.make(self.stepped.now)
            self.now.restore(before)

    def state(self) -> dict[str, Any]:
        """The steps, and what the estimator remembers."""
        return {"steps": self.stepped.positions(), **self.now.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        held = np.full(int(self.stepped.devices.resource.max(initial=-1)) + 1, np.nan)
        held[self.stepped.devices.resource] = state["steps"][self.stepped.devices.device]
        self._go(held)
        self.now.restore({name: value for name, value in state.items() if name != "steps"})
