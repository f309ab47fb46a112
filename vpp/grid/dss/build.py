"""A script of the subset -> :class:`vpp.grid.threephase.feeder.Feeder`."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from vpp.grid.dss.classes import NumberFile
from vpp.grid.dss.lines import read_line
from vpp.grid.dss.script import DssObject, Script
from vpp.grid.dss.transformers import read_regulator, read_transformer
from vpp.grid.dss.units import Unusable, check_frequency, connection, phases_of, positive, terminal
from vpp.grid.threephase.feeder import (
    Capacitor,
    Feeder,
    Load,
    Node,
    Shape,
    Source,
    delta_legs,
    sequence_matrix,
    wye_legs,
)
from vpp.kernel.errors import NetworkError

_PARTS: dict[int, tuple[float, float, float]] = {1: (0.0, 0.0, 1.0), 2: (1.0, 0.0, 0.0), 5: (0.0, 1.0, 0.0)}
_Legs = tuple[tuple[Node, Node], ...]
T = TypeVar("T")


def read_dss(path: Path, source: str = "") -> Feeder:
    """Read an OpenDSS script; NetworkError with one line for each finding, file and line first."""
    script = Script()
    script.run(path)
    feeder = Feeder(script.circuit, script.f_hz, source or f"dss:{path}", script.voltage_bases_kv)

    def each(kind: str, read: Callable[[DssObject, Script], T], into: list[T]) -> None:
        for target in script.of(kind):
            try:
                check_frequency(target, script.f_hz)
                into.append(read(target, script))
            except Unusable as error:
                script.report(error.file, error.line, str(error))

    shapes: list[Shape] = []
    each("loadshape", _shape, shapes)
    feeder.shapes = {shape.name: shape for shape in shapes}
    each("vsource", _source, feeder.sources)
    each("line", read_line, feeder.lines)
    each("transformer", read_transformer, feeder.transformers)
    each("capacitor", _capacitor, feeder.capacitors)
    each("load", _load, feeder.loads)
    each("regcontrol", read_regulator, feeder.regulators)
    if not script.circuit and not script.findings:
        script.report(path, 0, "defines no circuit")
    for load in feeder.loads:
        if load.shape and load.shape != "default" and load.shape not in feeder.shapes:
            target = script.objects["load", load.name]
            script.report(target.file, target.line, f"load.{load.name}: there is no loadshape {load.shape}")
    if script.findings:
        raise NetworkError(feeder.source, "\n".join(str(finding) for finding in script.findings))
    feeder.xy = script.xy
    feeder.notes = [f"{what} passed over {n} times" for what, n in sorted(script.passed_over.items())]
    return feeder


def _source(target: DssObject, script: Script) -> Source:
    """Voltage behind the impedance that short-circuit powers, currents or ohms state."""
    phases = phases_of(target, allowed=(1, 3))
    kv = positive(target, "basekv", float(target.get("basekv", 115.0)))
    nodes = terminal(target, "bus1", target.get("bus1", ("sourcebus", ())), phases)
    size = kv * 1e3 * float(target.get("pu", 1.0)) / (math.sqrt(3.0) if phases > 1 else 1.0)
    angle = math.radians(float(target.get("angle", 0.0)))
    v = np.array([cmath.rect(size, angle - k * math.tau / 3.0) for k in range(phases)])
    z1, z0 = _short_circuit(target, kv, phases)
    z = sequence_matrix(z1, z0, phases) if phases > 1 else np.array([[z1]])
    if abs(np.linalg.det(z)) == 0.0:
        raise Unusable(target, "its impedance is zero")
    return Source(target.name, nodes, v, z, kv)


def _short_circuit(target: DssObject, kv: float, phases: int) -> tuple[complex, complex]:
    """Positive- and zero-sequence ohm; whichever of ohms, currents and powers was stated last counts."""
    stated = [p.name for p in target.properties if p.name in _SHORT]
    if stated and stated[-1] in ("r1", "x1", "r0", "x0"):
        r1, x1 = float(target.get("r1", 1.65)), float(target.get("x1", 6.6))
        r0, x0 = float(target.get("r0", 1.9)), float(target.get("x0", 5.7))
        return complex(r1, x1), complex(r0, x0)
    root = math.sqrt(3.0) if phases > 1 else 1.0
    if stated and stated[-1].startswith("isc"):
        three, one = float(target.get("isc3", 10000.0)), float(target.get("isc1", 10500.0))
    else:
        three = float(target.get("mvasc3", 2000.0)) * 1e3 / (root * kv)
        one = float(target.get("mvasc1", 2100.0)) * 1e3 / (root * kv)
    ratio1, ratio0 = float(target.get("x1r1", 4.0)), float(target.get("x0r0", 3.0))
    u = kv * 1e3 / root
    r1 = u / three / math.sqrt(1.0 + ratio1**2)
    x1 = r1 * ratio1
    # |2 Z1 + Z0| = 3 U / I1, a quadratic in R0
    a, b = 1.0 + ratio0**2, 4.0 * (r1 + x1 * ratio0)
    c = 4.0 * (r1**2 + x1**2) - (3.0 * u / one) ** 2
    inside = b * b - 4.0 * a * c
    if inside < 0.0:
        raise Unusable(target, "no zero-sequence impedance fits its single-phase short-circuit power")
    r0 = (-b + math.sqrt(inside)) / (2.0 * a)
    return complex(r1, x1), complex(r0, r0 * ratio0)


_SHORT = ("r1", "x1", "r0", "x0", "mvasc3", "mvasc1", "isc3", "isc1")


def _legs(target: DssObject, phases: int, conn: str) -> _Legs:
    """Between which nodes a load or capacitor stands."""
    if conn == "wye":
        *nodes, neutral = terminal(target, "bus1", target.get("bus1"), phases, 1)
        return wye_legs(tuple(nodes), neutral)
    if phases == 2:
        raise Unusable(target, "a delta of two phases is outside the subset")
    return delta_legs(terminal(target, "bus1", target.get("bus1"), 2 if phases == 1 else 3))


def _load(target: DssObject, script: Script) -> Load:
    """Build one load."""
    phases, conn = phases_of(target), connection(target, target.get("conn", "wye"))
    kv = positive(target, "kv", float(target.get("kv", 12.47)))
    p, q = _power(target)
    model = target.get("model", 1)
    parts_p = parts_q = _PARTS.get(model, _PARTS[1])
    if model == 8:
        zip_v = target.get("zipv", [])
        if len(zip_v) != 7 or zip_v[6] != 0.0:
            raise Unusable(target, "model 8 needs zipv with seven numbers, the last (a cut-off) 0", "zipv")
        parts_p, parts_q = (zip_v[0], zip_v[1], zip_v[2]), (zip_v[3], zip_v[4], zip_v[5])
    elif model not in _PARTS:
        raise Unusable(target, f"model {model} is outside the subset: 1, 2, 5 or 8", "model")
    shape = next((s for s in (target.get(k, "") for k in ("yearly", "daily", "duty")) if s), "")
    band = [float(target.get(k, d)) for k, d in (("vminpu", 0.95), ("vmaxpu", 1.05), ("vlowpu", 0.5))]
    if not 0.0 <= band[2] < band[0] < band[1]:
        raise Unusable(target, "expected vlowpu < vminpu < vmaxpu", "vminpu")
    across = kv / (math.sqrt(3.0) if conn == "wye" and phases > 1 else 1.0)
    legs = _legs(target, phases, conn)
    return Load(target.name, legs, across, p, q, parts_p, parts_q, band[0], band[1], band[2], shape)


def _power(target: DssObject) -> tuple[float, float]:
    """Active and reactive power: of kW, kvar and kVA the last decides which two numbers count, as in OpenDSS.

    kW and kVA go with the power factor; kvar sets the power factor anew at the end of its command.
    """
    kw, kvar, kva, pf, how = 10.0, 0.0, 0.0, 0.88, "kw"
    for group in target.by_command() or [[]]:
        for prop in group:
            if prop.name == "pf":
                pf = prop.value
                if not 0.0 < abs(pf) <= 1.0:
                    raise Unusable(target, f"power factor {pf:g}", "pf")
            elif prop.name in ("kw", "kvar", "kva"):
                how = prop.name
                kw = prop.value if how == "kw" else kw
                kvar = prop.value if how == "kvar" else kvar
                kva = prop.value if how == "kva" else kva
        if how == "kvar":
            size = math.hypot(kw, kvar)
            pf = math.copysign(abs(kw) / size, kw * kvar) if size else 1.0
            continue
        if how == "kva":
            kw = kva * abs(pf)
        kvar = kw * math.copysign(math.sqrt(1.0 / pf**2 - 1.0), pf) if pf else kvar
    return kw, kvar


def _capacitor(target: DssObject, script: Script) -> Capacitor:
    """Build one bank to ground or in delta."""
    phases, conn = phases_of(target), connection(target, target.get("conn", "wye"))
    if target.has("bus2"):
        bus1, bus2 = target.get("bus1"), target.get("bus2")
        if any(bus2[1]) or not bus2[1] or (bus1 and bus1[0] != bus2[0]):
            raise Unusable(target, "a series capacitor is outside the subset", "bus2")
    if target.get("numsteps", 1) != 1:
        raise Unusable(target, "a bank of several steps is outside the subset", "numsteps")
    kv = positive(target, "kv", float(target.get("kv", 12.47)))
    across = kv / (math.sqrt(3.0) if conn == "wye" and phases > 1 else 1.0)
    return Capacitor(target.name, _legs(target, phases, conn), across, float(target.get("kvar", 1200.0)))


def _shape(target: DssObject, script: Script) -> Shape:
    """Read a load shape, from the script or from a file of one number a line."""
    if target.get("useactual", False):
        raise Unusable(target, "useactual is outside the subset: multipliers only", "useactual")
    mult = target.get("mult")
    if mult is None:
        raise Unusable(target, "needs mult")
    if isinstance(mult, NumberFile):
        mult = _column(target, mult)
    count = target.get("npts", len(mult))
    if len(mult) < count:
        raise Unusable(target, f"has {len(mult)} of {count} points", "mult")
    interval = 3600.0 * target.get("interval", 1.0)
    for prop, seconds in (("minterval", 60.0), ("sinterval", 1.0)):
        if target.has(prop):
            interval = seconds * target.get(prop)
    return Shape(target.name, interval, np.array(mult[:count], dtype=np.float64))


def _column(target: DssObject, wanted: NumberFile) -> list[float]:
    """Read a column of a file beside the script."""
    path = (target.file.parent / wanted.path.replace("\\", "/")).resolve()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise Unusable(target, f"file {wanted.path} cannot be read", "mult") from error
    out = []
    for at, line in enumerate(lines[1:] if wanted.header else lines, start=2 if wanted.header else 1):
        if line.strip():
            cells = line.split(",")
            try:
                out.append(float(cells[wanted.column - 1]))
            except (IndexError, ValueError) as error:
                raise Unusable(target, f"{wanted.path}:{at}: no number in column {wanted.column}", "mult") from error
    return out
