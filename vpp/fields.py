"""The words that fields are made of: numbers with a unit and a sign, names, and the base of every part.

A field's unit stands in its key (``p_mw``) and in the JSON schema (``unit``). Numbers are strict: a text, a
truth value, ``.inf`` and ``.nan`` are findings, not numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

Where = tuple[str | int, ...]
Check = Callable[[float, ValidationInfo], float]


class Part(BaseModel):
    """Base of every part of a scenario: unknown keys are refused, nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Yield what is wrong between fields that are each right: (path from here, message)."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = list(self.contradictions())
        if found:
            text = "; ".join(message for _, message in found)
            raise PydanticCustomError("contradiction", "{text}", {"text": text, "found": found})
        return self


def bad(message: str) -> PydanticCustomError:
    """Make the error that a field's validator raises; the message reaches the user as it stands."""
    return PydanticCustomError("bad", "{message}", {"message": message})


def _magnitude(value: float, info: ValidationInfo) -> float:
    """Zero or more."""
    if value < 0:
        raise bad(f"wrong sign: {info.field_name or 'this'} is a magnitude and never negative; did you mean {-value:g}?")
    return value


def _positive(value: float, info: ValidationInfo) -> float:
    """More than zero."""
    if _magnitude(value, info) == 0:
        raise bad(f"{info.field_name or 'this'} must be more than 0")
    return value


def _fraction(value: float, info: ValidationInfo) -> float:
    """0…1, and never a percentage."""
    if not 0 <= value <= 1:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise bad(f"{info.field_name or 'this'} is a fraction 0…1{hint}")
    return value


def _per_unit(value: float, info: ValidationInfo) -> float:
    """A voltage in per unit; volts and percent are far outside."""
    if not 0.2 <= value <= 2:
        hint = f"; did you mean {value / 100:g}?" if 20 <= value <= 200 else ""
        raise bad(f"{info.field_name or 'this'} is a voltage in per unit, 0.2…2{hint}")
    return value


def _number(check: Check, unit: str) -> list[Any]:
    return [Strict(), AllowInfNan(False), AfterValidator(check), Field(json_schema_extra={"unit": unit})]


Number = Annotated[float, Strict(), AllowInfNan(False)]
Mw = Annotated[Number, Field(json_schema_extra={"unit": "MW"})]
Mvar = Annotated[Number, Field(json_schema_extra={"unit": "Mvar"})]
Price = Annotated[Number, Field(json_schema_extra={"unit": "EUR/MWh"})]
Hertz = Annotated[float, *_number(_positive, "Hz")]
EurPerMwh = Annotated[float, *_number(_magnitude, "EUR/MWh")]
MwMagnitude = Annotated[float, *_number(_magnitude, "MW")]
MwRating = Annotated[float, *_number(_positive, "MW")]
MvaRating = Annotated[float, *_number(_positive, "MVA")]
MwhRating = Annotated[float, *_number(_positive, "MWh")]
MwPerSecond = Annotated[float, *_number(_positive, "MW/s")]
Seconds = Annotated[float, *_number(_magnitude, "s")]
StepSeconds = Annotated[float, *_number(_positive, "s")]
Hours = Annotated[float, *_number(_positive, "h")]
Fraction = Annotated[float, *_number(_fraction, "1"), Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Soc = Fraction
Ratio = Annotated[float, *_number(_magnitude, "1")]
Pu = Annotated[float, *_number(_per_unit, "pu")]
Count = Annotated[int, Strict(), Field(ge=1)]
Seed = Annotated[int, Strict(), Field(ge=0)]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]


def by_shape(value: Any) -> str:
    """Tell the alternatives of a field apart by what stands there; the tags that unions here carry."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, list | tuple):
        return "list"
    return "mapping" if isinstance(value, dict | BaseModel) else "number"


def _file(value: str) -> str:
    if not value.startswith("file:") or value == "file:":
        raise bad("a file is written file:<path>, relative to the scenario that names it")
    return value


FileRef = Annotated[str, AfterValidator(_file), Field(json_schema_extra={"pattern": "^file:."})]


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise bad("must be a local date or time such as 2016-06-21 or 2016-06-21T06:00") from None


def _clock(value: str) -> str:
    try:
        seconds_of_day(value)
    except ValueError:
        raise bad('must be a local time of day such as "06:00"') from None
    return value


def seconds_of_day(clock: str) -> int:
    """Seconds since local midnight of a clock time "HH:MM" or "HH:MM:SS"."""
    if len(clock) not in (5, 8) or clock[2] != ":":
        raise ValueError(clock)
    at = time.fromisoformat(clock)
    return at.hour * 3600 + at.minute * 60 + at.second


Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Clock = Annotated[str, AfterValidator(_clock)]
