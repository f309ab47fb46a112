"""Lines and line codes of a script -> :class:`vpp.grid.threephase.feeder.Line`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpp.grid.dss.script import DssObject, Property, Script
from vpp.grid.dss.units import Unusable, check_frequency, metres, phases_of, terminal
from vpp.grid.tables import ComplexArray
from vpp.grid.threephase.feeder import Line, sequence_matrix

_MATRICES = ("rmatrix", "xmatrix", "cmatrix")
_SEQUENCE = {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047, "c1": 3.4, "c0": 1.6}  # ohm, nF
_SWITCH = {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0, "c1": 1.1, "c0": 1.0}


@dataclass(slots=True)
class _Impedance:
    """What has been stated so far, a unit of length."""

    phases: int
    sequence: dict[str, float]
    matrices: dict[str, list[list[float]]]
    unit: str = "none"
    normamps: float = float("nan")

    def take(self, prop: Property) -> None:
        """Take one property over; sequence values and matrices replace one another."""
        if prop.name in self.sequence:
            self.sequence[prop.name] = prop.value
            self.matrices.clear()
        elif prop.name in _MATRICES:
            self.matrices[prop.name] = prop.value
        elif prop.name == "normamps":
            self.normamps = prop.value

    def per_length(self, target: DssObject, f_hz: float) -> tuple[ComplexArray, ComplexArray]:
        """Series ohm and shunt siemens (k, k), a unit of length, at the network's frequency."""
        k, s = self.phases, self.sequence
        if not self.matrices:
            r, x = (sequence_matrix(s[f"{q}1"], s[f"{q}0"] if k > 1 else s[f"{q}1"], k).real for q in "rx")
            c = sequence_matrix(s["c1"], s["c0"] if k > 1 else s["c1"], k).real
        else:
            for name, rows in self.matrices.items():
                if len(rows) != k:
                    raise Unusable(target, f"{name} has {len(rows)} rows for {k} phases", name)
            if not {"rmatrix", "xmatrix"} <= set(self.matrices):
                raise Unusable(target, "rmatrix and xmatrix are needed together")
            r, x = np.array(self.matrices["rmatrix"]), np.array(self.matrices["xmatrix"])
            default = sequence_matrix(s["c1"], s["c0"] if k > 1 else s["c1"], k).real
            c = np.array(self.matrices.get("cmatrix", default))
        ohm: ComplexArray = (r + 1j * x).astype(np.complex128)
        siemens: ComplexArray = (2j * math.pi * f_hz * 1e-9 * c).astype(np.complex128)
        return ohm, siemens


def _code(code: DssObject, script: Script) -> _Impedance:
    """Read a line code."""
    check_frequency(code, script.f_hz)
    out = _Impedance(int(code.get("nphases", 3)), dict(_SEQUENCE), {})
    for prop in code.properties:
        out.take(prop)
        if prop.name == "units":
            out.unit = prop.value
    if out.phases not in (1, 2, 3):
        raise Unusable(code, f"{out.phases} phases are outside the subset", "nphases")
    return out


def read_line(line: DssObject, script: Script) -> Line:
    """Build one line; its properties count in their order, as in OpenDSS."""
    z = _Impedance(phases_of(line), dict(_SEQUENCE), {})
    length, own_unit, switch = 1.0, "", False
    for prop in line.properties:
        if prop.name == "linecode":
            code = script.objects.get(("linecode", prop.value))
            if code is None:
                raise Unusable(line, f"there is no linecode {prop.value}", "linecode")
            z = _code(code, script)
        elif prop.name == "switch" and prop.value:
            switch, length, own_unit = True, 0.001, "none"
            z = _Impedance(z.phases, dict(_SWITCH), {})
        elif prop.name == "length":
            length = prop.value
        elif prop.name == "units":
            own_unit = prop.value
        else:
            z.take(prop)
    code_m, own_m = metres(line, z.unit), metres(line, own_unit or "none")
    if code_m and own_m:
        length *= own_m / code_m
    ohm, siemens = z.per_length(line, script.f_hz)
    ends = [terminal(line, f"bus{k}", line.get(f"bus{k}"), z.phases) for k in (1, 2)]
    if np.linalg.cond(ohm) > 1e12 or not length > 0.0:
        raise Unusable(line, "its series impedance or its length is zero")
    return Line(line.name, ends[0], ends[1], ohm * length, siemens * length, z.normamps, switch)
