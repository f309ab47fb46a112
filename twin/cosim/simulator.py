"""What our mosaik simulators share: one entity, a meta made from sheets, a stopwatch."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, ClassVar

import mosaik_api_v3

from twin.cosim.codec import pack
from vpp.kernel.signals import Signals

Sheets = Mapping[str, type[Signals] | None]


def meta(model: str, sheets: Sheets) -> dict[str, Any]:
    """The mosaik description of a time-based simulator with one public model.

    An attribute is a whole sheet of signals, or a result that stays inside the process (None). What a sheet
    holds - each signal's unit, meaning and sign - is taken from its class, where it stands once.
    """
    signals = {
        name: {signal.name: {"unit": signal.unit, "meaning": signal.meaning} for signal in sheet.signals}
        for name, sheet in sheets.items()
        if sheet is not None
    }
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {model: {"public": True, "params": [], "attrs": list(sheets), "signals": signals}},
    }


class OneEntity(mosaik_api_v3.Simulator):
    """A simulator with a single entity, stepped once a step of the scenario.

    A subclass names its model, inputs and outputs and writes `turn`. Blocks are packed where ``packed`` is set.
    """

    model: ClassVar[str]
    inputs: ClassVar[Sheets]
    outputs: ClassVar[Sheets]

    def __init__(self) -> None:
        """Describe the simulator to mosaik."""
        super().__init__(meta(self.model, {**self.inputs, **self.outputs}))
        self.out: dict[str, Any] = {}
        self.packed = False
        self.spent: dict[str, float] = {self.model: 0.0}

    def create(self, num: int, model: str, **model_params: Any) -> Any:
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
