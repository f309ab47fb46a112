"""The devices of a fleet, stepped together: adopt what was asked, offer power, settle what was delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin.devices import DEVICES
from twin.devices.model import DeviceModel, Offer, StepInput
from twin.spec import FleetSpec
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import FloatArray


@dataclass(slots=True)
class FleetModel:
    """All devices.

    Attributes:
        spec: their parameters.
        applied: what the devices hold now (read-back).
        soc: (n,) state of charge, NaN where nothing is stored.
    """

    spec: FleetSpec
    applied: Setpoints = field(init=False)
    soc: FloatArray = field(init=False)
    _models: tuple[DeviceModel, ...] = field(init=False)
    _offered_p: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        """Make one model a kind."""
        fleet = self.spec.fleet
        unknown = sorted(set(fleet.kind) - set(DEVICES))
        if unknown:
            raise ValueError(f"no device model for {', '.join(unknown)}; there are {', '.join(DEVICES)}")
        kinds = np.array(fleet.kind)
        self._models = tuple(
            model(np.flatnonzero(kinds == kind), self.spec) for kind, model in DEVICES.items() if kind in fleet.kind
        )
        self.applied = Setpoints.neutral(fleet.n)
        self.soc = self.spec.soc0.copy()
        self._offered_p = np.zeros(fleet.n)

    def step(self, k: int, dt_s: float, asked: Setpoints | None, delivered_p_mw: FloatArray | None) -> Offer:
        """Go from step k-1 to step k.

        Args:
            k: the step that begins.
            dt_s: length of a step.
            asked: setpoints that arrived during step k-1; None: nothing new.
            delivered_p_mw: (n,) what was delivered over step k-1, None at the start. Where it is NaN (the
                network had no solution) what the device offered is counted.

        Returns:
            What the devices offer over step k.
        """
        if asked is not None:
            self.applied = asked
        given = StepInput(dt_s, self.spec.profiles.at(k), self.applied.block, self.soc)
        if delivered_p_mw is not None:
            p = delivered_p_mw
            if np.isnan(p[0]):  # a diverged step is NaN as a whole
                p = np.where(np.isnan(p), self._offered_p, p)
            for model in self._models:
                model.settle(given, p)
        offer = Offer(np.empty((len(Offer.signals), self.spec.fleet.n)))
        for model in self._models:
            model.offer(given, offer.block)
        self._offered_p = offer.p_mw
        return offer

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Everything that the next step depends on."""
        return {"applied": self.applied.block.copy(), "soc": self.soc.copy(), "offered": self._offered_p.copy()}

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> None:
        """Go back to a remembered state."""
        self.applied = Setpoints(state["applied"].copy())
        self.soc[:] = state["soc"]
        self._offered_p = state["offered"].copy()
