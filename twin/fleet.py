"""The devices of a fleet, stepped together: adopt what was asked, offer power, settle what was delivered."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from twin.devices import DEVICES, load_installed
from twin.devices.model import Ahead, DeviceModel, Offer, StepInput
from twin.lines import Receiver
from twin.spec import FleetSpec
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FORMING, Setpoints
from vpp.kernel.signals import FloatArray


@dataclass(slots=True)
class FleetModel:
    """All devices.

    Attributes:
        spec: their parameters.
        applied: what the devices hold now (read-back).
        soc: (n,) state of charge, NaN where nothing is stored.
        models: one a kind.
    """

    spec: FleetSpec
    applied: Setpoints = field(init=False)
    soc: FloatArray = field(init=False)
    models: tuple[DeviceModel, ...] = field(init=False)
    _offered_p: FloatArray = field(init=False)
    _receiver: Receiver | None = field(init=False)

    def __post_init__(self) -> None:
        """Make one model a kind."""
        fleet = self.spec.fleet
        load_installed()
        unknown = sorted(set(fleet.kind) - set(DEVICES))
        if unknown:
            raise ValueError(f"no device model for {', '.join(unknown)}; there are {', '.join(DEVICES)}")
        kinds = np.array(fleet.kind)
        self.models = tuple(
            model(np.flatnonzero(kinds == kind), self.spec) for kind, model in DEVICES.items() if kind in fleet.kind
        )
        self.applied = self._formed(Setpoints.neutral(fleet.n))
        self._show_steps()
        self.soc = self.spec.soc0.copy()
        self._offered_p = np.zeros(fleet.n)
        disturbed = self.spec.disturbed
        self._receiver = None if disturbed is None else Receiver(fleet, disturbed)

    def step(
        self, k: int, dt_s: float, asked: Setpoints | None, delivered_p_mw: FloatArray | None,
        vm_pu: FloatArray | None = None, f_hz: float = math.nan,
    ) -> Offer:  # fmt: skip
        """Go from step k-1 to step k.

        Args:
            k: the step that begins.
            dt_s: length of a step.
            asked: setpoints that arrived during step k-1; None: nothing new.
            delivered_p_mw: (n,) what was delivered over step k-1, None at the start. Where it is NaN (the
                network had no solution) what the device offered is counted.
            vm_pu: (n,) voltage at the terminals over step k-1, None at the start.
            f_hz: frequency over step k-1, NaN at the start.

        Returns:
            What the devices offer over step k.
        """
        if delivered_p_mw is not None:
            p = delivered_p_mw
            if np.isnan(p[0]):  # a diverged step is NaN as a whole
                p = np.where(np.isnan(p), self._offered_p, p)
            before = self._given(k - 1, dt_s)
            for model in self.models:
                model.settle(before, p)
        if self._receiver is not None:
            self.applied = self._formed(self._receiver.adopt(k, asked))
        elif asked is not None:
            self.applied = self._formed(asked)
        given = replace(self._given(k, dt_s), vm_pu=vm_pu, f_hz=f_hz)
        offer = Offer(np.empty((len(Offer.signals), self.spec.fleet.n)))
        offer.e_need_mwh, offer.t_depart_s = np.nan, np.nan
        for model in self.models:
            model.offer(given, offer.block)
        if (disturbed := self.spec.disturbed) is not None and disturbed.faults is not None:
            disturbed.faults.offered(k, offer.block)
        self._offered_p = offer.p_mw
        self._show_steps()
        return offer

    def _show_steps(self) -> None:
        """Let what is held say the steps at which the switching devices are."""
        found = [(model.at, steps) for model in self.models if (steps := model.steps()) is not None]
        if found:
            self.applied = self.applied.copy()  # what was asked belongs to whoever asked
            for at, steps in found:
                self.applied.step[at] = steps

    def _formed(self, asked: Setpoints) -> Setpoints:
        """What the devices hold when this is asked: a forming resource keeps its references and its mode."""
        at = self.spec.forming
        if at.size == 0:
            return asked
        held = Setpoints(asked.block.copy())
        held.mode[at], held.p_mw[at], held.connect[at] = FORMING, 0.0, 1.0
        held.v_ref_pu[at], held.f_ref_hz[at] = self.spec.forming_ref
        return held

    def _given(self, k: int, dt_s: float) -> StepInput:
        acting = self.applied if self._receiver is None else self._formed(Setpoints(self._receiver.acting))
        return StepInput(k, k * dt_s, dt_s, self.spec.profiles.at(max(k, 0)), acting.block, self.soc)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """Power that all devices take or give by themselves at these values of the sources: (steps, n) MW."""
        out = np.zeros((len(profile), self.spec.fleet.n))
        for model in self.models:
            out[:, model.at] = model.expect(profile)
        return out

    def flex(self, ahead: Ahead, expected_mw: FloatArray, start_ns: int) -> Flex:
        """The fleet's flexibility over a horizon: by the ratings, narrowed by each kind's model.

        It depends on parameters and on what is measured alone, not on the state of these models.
        """
        flex = Flex.of_fleet(self.spec.fleet, ahead.soc, expected_mw, start_ns, round(ahead.step_s * 1e9))
        for model in self.models:
            model.flex(ahead, flex)
        return flex

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        own = {f"{model.kind}.{name}": array for model in self.models for name, array in model.state().items()}
        held = {"applied": self.applied.block.copy(), "soc": self.soc.copy(), "offered": self._offered_p.copy()}
        receiver = {} if self._receiver is None else {"receiver": self._receiver.state()}
        return {**held, **receiver, **own}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self.applied = Setpoints(state["applied"].copy())
        self.soc[:] = state["soc"]
        self._offered_p = state["offered"].copy()
        if self._receiver is not None:
            self._receiver.restore(state["receiver"])
            self.applied = self._receiver.applied
        for model in self.models:
            mark = f"{model.kind}."
            model.restore({name.removeprefix(mark): array for name, array in state.items() if name.startswith(mark)})
