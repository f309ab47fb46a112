"""How a unit's variables are tied to ours, and what can be wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twin.fmi.describe import ENERGY, NUMBER, PER_SECOND, POWER, REALS, TIME, VOLTAGE, Description, Dimension, Variable
from twin.fmi.unit import Value
from twin.series import Surroundings
from vpp.fields import Where
from vpp.kernel.errors import DeviceError
from vpp.kernel.signals import FloatArray

MW, MWH = (POWER, 1e6), (ENERGY, 3.6e9)
# What a unit can be told, and what it can tell, each with its dimension and factor to SI.
ASKED: Final[Mapping[str, tuple[Dimension, float]]] = {
    "p_mw": MW, "p_limit_mw": MW, "q_mvar": MW, "v_ref_pu": (NUMBER, 1.0), "mode": (NUMBER, 1.0), "q_mode": (NUMBER, 1.0),
    "connect": (NUMBER, 1.0), "p_delivered_mw": MW, "vm_pu": (NUMBER, 1.0), "f_hz": (PER_SECOND, 1.0),
}  # fmt: skip
TOLD: Final[Mapping[str, tuple[Dimension, float]]] = {
    "p_mw": MW, "q_mvar": MW, "soc": (NUMBER, 1.0), "p_avail_min_mw": MW, "p_avail_max_mw": MW, "e_need_mwh": MWH,
    "t_depart_s": (TIME, 1.0),
}  # fmt: skip
_FREE: Final = {(NUMBER, VOLTAGE), (PER_SECOND, NUMBER)}  # pairs whose factor depends on a rated value that we do not know


@dataclass(frozen=True, slots=True)
class WeatherChannel:
    """A channel of the weather in one cell, as a unit's input follows it."""

    channel: str
    cell: int
    quarters: bool = False

    @property
    def name(self) -> str:
        """What it is called in messages and in the record."""
        return f"weather:{self.channel}@{self.cell}"

    def values(self, around: Surroundings) -> FloatArray:
        """(T,) value of each step.

        Raises:
            DeviceError: there is no weather, or no such channel.
        """
        channels = around.weather.channels if around.weather is not None else {}
        if self.channel not in channels:
            raise DeviceError(f"weather:{self.channel}", f"no such weather is at hand (there is {', '.join(channels) or 'none'})")
        return channels[self.channel][:, self.cell]


@dataclass(frozen=True, slots=True)
class Tie:
    """A variable of the unit and a quantity of ours.

    Attributes:
        variable: name of the unit's variable.
        ours: name in `ASKED` or `TOLD`, or the name of a source ("file:…", "profile:…", "weather:…").
        scale, offset: input: variable = scale · ours + offset; output: ours = scale · variable + offset.
    """

    variable: str
    ours: str
    scale: float
    offset: float


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that a fleet entry says of its unit.

    Attributes:
        file: "file:<path>".
        start: start values by variable.
        inputs, outputs: the ties.
        step_s: longest communication step; 0: the step of the simulation.
    """

    file: str
    start: tuple[tuple[str, Value], ...]
    inputs: tuple[Tie, ...]
    outputs: tuple[Tie, ...]
    step_s: float

    @property
    def path(self) -> Path:
        """The unit's file."""
        return Path(self.file.removeprefix("file:"))


def mistakes(wiring: Wiring, description: Description) -> Iterator[tuple[Where, str]]:
    """What is wrong between an entry and its unit: (path in the entry, message)."""
    for name, value in wiring.start:
        where: Where = ("parameters", name)
        try:
            yield from ((where, text) for text in _start(description.variable(name), value))
        except ValueError as error:
            yield where, str(error)
    ties = [(("inputs", tie.variable), tie, "input") for tie in wiring.inputs]
    ties += [(("outputs", tie.ours), tie, "output") for tie in wiring.outputs]
    for where, tie, causality in ties:
        try:
            variable = description.variable(tie.variable)
        except ValueError as error:
            yield where, str(error)
            continue
        yield from ((where, text) for text in _tied(variable, causality))
        ours = (ASKED if causality == "input" else TOLD).get(tie.ours)
        if ours is not None:
            yield from ((where, text) for text in _measured(variable, tie, ours, outward=causality == "output"))


def _start(variable: Variable, value: Value) -> Iterator[str]:
    """A start value belongs to a parameter or an input, and fits its type."""
    if variable.causality not in ("parameter", "structuralParameter", "input") or variable.variability == "constant":
        yield f"{variable.name} is {_article(variable.causality)}: only parameters and inputs take a start value"
    if variable.array:
        yield f"{variable.name} is an array; only single values can be set"
    fits = {"String": isinstance(value, str), "Boolean": isinstance(value, bool)}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = variable.type not in (*REALS, "String", "Boolean") and number and float(value) != round(float(value))
    if not fits.get(variable.type, number) or whole:
        yield f"{variable.name} is of type {variable.type}, which {value!r} does not fit"


def _tied(variable: Variable, causality: str) -> Iterator[str]:
    """An input is an input, an output an output (or a local that can be read), and both are single numbers."""
    good = ("input",) if causality == "input" else ("output", "local", "calculatedParameter")
    if variable.causality not in good:
        yield f"{variable.name} is {_article(variable.causality)} of the unit, not {_article(causality)}"
    if variable.array:
        yield f"{variable.name} is an array; only single numbers can be tied"
    if variable.type in ("String", "Binary", "Clock"):
        yield f"{variable.name} is of type {variable.type}, no number"


def _measured(variable: Variable, tie: Tie, ours: tuple[Dimension, float], *, outward: bool) -> Iterator[str]:
    """The scale is the one between the units of measurement, either sign."""
    if variable.measure is None:
        return
    dimension, factor = variable.measure
    if (ours[0], dimension) in _FREE:
        return
    if dimension != ours[0]:
        yield f"{variable.name} is in {variable.unit}, which is no measure of {tie.ours}"
        return
    right = factor / ours[1] if outward else ours[1] / factor
    if abs(abs(tie.scale) - right) > 1e-6 * right:
        other = f"(or {-right:g} for the other sign)"
        yield f"{variable.name} is in {variable.unit}: the scale is {right:g} {other}, not {tie.scale:g}"


def _article(causality: str) -> str:
    return f"an {causality}" if causality[0] in "aeiou" else f"a {causality}"
