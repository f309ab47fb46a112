"""A unit in the fleet: its ties compiled to references, its communication steps within a step of the simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from twin.fmi.describe import Description, Variable
from twin.fmi.unit import Unit, UnitFailed, Value, native
from twin.fmi.wiring import ASKED, Wiring
from vpp.kernel.errors import DeviceError
from vpp.kernel.signals import FloatArray


class Lane:
    """One resource's unit."""

    def __init__(self, name: str, wiring: Wiring, description: Description, folder: Path, column: Mapping[str, int]) -> None:
        """Instantiate.

        Args:
            name: the resource's.
            wiring: the ties, already found right.
            description: of the unit.
            folder: where it was unpacked.
            column: profile column of each source that an input is tied to.
        """
        self.name, self.wiring = name, wiring
        row = {ours: k for k, ours in enumerate(ASKED)}
        self._inputs = [description.variable(tie.variable) for tie in wiring.inputs]
        self._outputs = [description.variable(tie.variable) for tie in wiring.outputs]
        self._where = [(row.get(tie.ours, -1), column.get(tie.ours, -1), tie.scale, tie.offset) for tie in wiring.inputs]
        self._start: dict[Variable, Value] = {description.variable(n): value for n, value in wiring.start}
        self._read: dict[str, list[int]] = {}
        for variable in self._outputs:
            self._read.setdefault(variable.accessor, []).append(variable.ref)
        self.unit = Unit(description, folder, name)

    def begin(self, held: FloatArray) -> float:
        """Initialise; ``held`` takes the inputs' start values. Returns the state of charge, NaN where none is told."""
        for k, variable in enumerate(self._inputs):
            start = self._start.get(variable, variable.start)
            held[k] = _number(start)
        parameters = {v: value for v, value in self._start.items() if v not in self._inputs}
        self.unit.begin(parameters, [(v, float(held[k])) for k, v in enumerate(self._inputs)])
        try:
            return self._tell().get("soc", math.nan)
        except UnitFailed as error:
            raise DeviceError(self.name, f"tells nothing after its initialisation: {error}") from error

    def step(self, t_s: float, dt_s: float, asked: FloatArray, profile: npt.NDArray[Any], held: FloatArray) -> dict[str, float]:
        """Go over a step of the simulation in equal communication steps.

        Args:
            t_s: beginning of the step, since the start of the run.
            dt_s: length of the step.
            asked: (len(ASKED),) what holds in this step, NaN where it is not known.
            profile: values of all sources in this step.
            held: (inputs,) what the unit was told last; changed in place.

        Returns:
            Ours by name: means over the communication steps, the state of charge and deadlines at the end.

        Raises:
            UnitFailed: the unit refused, or told a power that is no number.
        """
        groups: dict[str, tuple[list[int], list[Value]]] = {}
        for k, (row, column, scale, offset) in enumerate(self._where):
            value = scale * float(asked[row] if row >= 0 else profile[column]) + offset
            if math.isfinite(value):
                held[k] = value
            variable = self._inputs[k]
            refs, values = groups.setdefault(variable.accessor, ([], []))
            refs.append(variable.ref)
            values.append(native(variable, float(held[k])))
        n = communication_steps(self.wiring.step_s, dt_s)
        h_s = dt_s / n
        total: dict[str, float] = {}
        told: dict[str, float] = {}
        for part in range(n):
            self.unit.step(t_s + part * h_s, h_s, groups)
            told = self._tell()
            for name, value in told.items():
                total[name] = total.get(name, 0.0) + value
        mean = {name: value / n for name, value in total.items()}
        if not (math.isfinite(mean["p_mw"]) and math.isfinite(mean.get("q_mvar", 0.0))):
            raise UnitFailed(f"{self.name} tells a power that is no number")
        return {name: told[name] if name in ("soc", "e_need_mwh", "t_depart_s") else value for name, value in mean.items()}

    def _tell(self) -> dict[str, float]:
        """Ours by name, as the unit tells them at its present time."""
        values = {accessor: iter(found) for accessor, found in self.unit.read(self._read).items()}
        ties = zip(self.wiring.outputs, self._outputs, strict=True)
        return {tie.ours: tie.scale * float(next(values[variable.accessor])) + tie.offset for tie, variable in ties}


def communication_steps(longest_s: float, dt_s: float) -> int:
    """Number of equal communication steps in a step of the simulation; 0 s: no limit of their length."""
    return 1 if longest_s <= 0.0 else max(1, int(np.ceil(dt_s / longest_s - 1e-9)))


def _number(start: Value) -> float:
    """A start value as a number."""
    return {"true": 1.0, "false": 0.0, "": 0.0}[start] if start in ("true", "false", "") else float(start)
