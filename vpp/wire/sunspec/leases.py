"""Reversion: a setpoint with a time to live, served by the device itself.

When the time is over the device goes to what its reversion registers say, whoever has gone away. Models 704 to 712 have
such registers (SunSpec DER Information Model Specification V1.0); the older 123 and 124 only switch themselves off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """One function with a reversion timer.

    Attributes:
        enable: the register that is not 0 while it runs.
        time: seconds to live; 0: for ever.
        left: seconds left, "" where the model does not tell.
        starts: registers whose writing starts the timer anew.
        revert: register -> register that is copied to it when the time is over.
        fixed: register -> value that it gets then.
        curve: register with the number (from 1) of the curve that is adopted then, "" for none.
    """

    enable: str
    time: str
    left: str
    starts: tuple[str, ...]
    revert: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    curve: str = ""


def _setpoint(stem: str, *values: str) -> Lease:
    """A function of model 704."""
    revert = {f"704.{v}": f"704.{v}Rvrt" for v in values} | {f"704.{stem}Ena": f"704.{stem}EnaRvrt"}
    starts = (f"704.{stem}Ena", f"704.{stem}RvrtTms", *(f"704.{v}" for v in values))
    return Lease(f"704.{stem}Ena", f"704.{stem}RvrtTms", f"704.{stem}RvrtRem", starts, revert)


def _factor(stem: str) -> Lease:
    """Constant power factor of model 704; its values stand in groups."""
    revert = {f"704.{stem}.{v}": f"704.{stem}Rvrt.{v}" for v in ("PF", "Ext")} | {f"704.{stem}Ena": f"704.{stem}EnaRvrt"}
    starts = (f"704.{stem}Ena", f"704.{stem}RvrtTms", f"704.{stem}.PF", f"704.{stem}.Ext")
    return Lease(f"704.{stem}Ena", f"704.{stem}RvrtTms", f"704.{stem}RvrtRem", starts, revert)


def _curve(model: int, request: str, stored: str) -> Lease:
    """A function with stored curves."""
    starts = (f"{model}.Ena", f"{model}.RvrtTms", f"{model}.{request}")
    return Lease(f"{model}.Ena", f"{model}.RvrtTms", f"{model}.RvrtRem", starts, curve=f"{model}.{stored}")


def _old(model: int, enable: str, time: str, rest: float, *starts: str) -> Lease:
    """A function of the models 123 and 124."""
    names = tuple(f"{model}.{name}" for name in (enable, time, *starts))
    return Lease(f"{model}.{enable}", f"{model}.{time}", "", names, fixed={f"{model}.{enable}": rest})


LEASES: Final[tuple[Lease, ...]] = (
    _setpoint("WMaxLimPct", "WMaxLimPct"),
    _setpoint("WSet", "WSet", "WSetPct"),
    _setpoint("VarSet", "VarSet", "VarSetPct"),
    _factor("PFWInj"),
    _factor("PFWAbs"),
    _curve(705, "AdptCrvReq", "RvrtCrv"),
    _curve(706, "AdptCrvReq", "RvrtCrv"),
    _curve(711, "AdptCtlReq", "RvrtCtl"),
    _curve(712, "AdptCrvReq", "RvrtCrv"),
    _old(123, "WMaxLim_Ena", "WMaxLimPct_RvrtTms", 0.0, "WMaxLimPct"),
    _old(123, "OutPFSet_Ena", "OutPFSet_RvrtTms", 0.0, "OutPFSet"),
    _old(123, "VArPct_Ena", "VArPct_RvrtTms", 0.0, "VArWMaxPct", "VArMaxPct", "VArPct_Mod"),
    _old(124, "StorCtl_Mod", "InOutWRte_RvrtTms", 0.0, "OutWRte", "InWRte"),
)
