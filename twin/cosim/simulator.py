"""What our mosaik simulators share: one entity, a meta made from sheets, a stopwatch."""

from __future__ import annotations

from time import perf_counter
from typing import Any, ClassVar

import mosaik_api_v3

from twin.cosim.codec import pack


def meta(model: str, attributes: tuple[str, ...]) -> dict[str, Any]:
    """The mosaik description of a time-based simulator with one public model.

    The attributes are whole sheets of `vpp.kernel.signals.Signals` (named after their class) or results that
    stay inside the process; which signals a sheet holds stands in its class and nowhere else.
    """
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {model: {"public": True, "params": [], "attrs": list(attributes)}},
    }


class OneEntity(mosaik_api_v3.Simulator):  # type: ignore[misc]  # mosaik's class is untyped
    """A simulator with a single entity, stepped once a step of the scenario.

    A subclass names its model, inputs and outputs and writes `turn`. Blocks are packed where ``packed`` is set.
    """

    model: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        """Describe the simulator to mosaik."""
        super().__init__(meta(self.model, (*self.inputs, *self.outputs)))
        self.out: dict[str, Any] = {}
        self.packed = False
        self.spent: dict[str, float] = {self.model: 0.0}

    def create(self, num: int, model: str, **model_params: Any) -> list[dict[str, Any]]:
        """Give the one entity."""
        if num != 1:
            raise ValueError(f"{model} is one entity for everything, not {num}")
        return [{"eid": self.model, "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Take the inputs, do this simulator's part of step ``time``."""
        begin = perf_counter()
        given = {name: next(iter(values.values())) for name, values in inputs.get(self.model, {}).items()}
        self.out = self.turn(time, given)
        if self.packed:
            self.out = {name: pack(value) for name, value in self.out.items()}
        self.spent[self.model] += perf_counter() - begin
        return time + 1

    def turn(self, k: int, given: dict[str, Any]) -> dict[str, Any]:
        """Do step ``k`` with the inputs by name; give the outputs by name."""
        raise NotImplementedError

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
        """Hand out what `turn` gave."""
        return {self.model: {name: self.out[name] for name in outputs[self.model]}}
