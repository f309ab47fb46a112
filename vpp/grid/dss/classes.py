"""The subset of OpenDSS: classes with the properties that are read, and what may be passed over.

A property that is in neither list is an error that names file and line. The meaning and the defaults of all of them
are OpenDSS's own (OpenDSS manual, "Circuit element models").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vpp.grid.dss.text import DssSyntaxError, bus, matrix, number, numbers, tokens, truth, whole, words

Reader = Callable[[str], Any]


def name(text: str) -> str:
    """Read a name: case does not matter in OpenDSS."""
    return text.lower()


@dataclass(frozen=True, slots=True)
class NumberFile:
    """A file of numbers: one a line, or a column of comma-separated values."""

    path: str
    column: int = 1
    header: bool = False


def file_or_numbers(text: str) -> NumberFile | list[float]:
    """Read an array, or the file that holds it: ``file=path, column=2, header=yes``."""
    if "=" not in text:
        return numbers(text)
    given = {token.name: token.value for token in tokens(text, 0)}
    unknown = sorted(set(given) - {"file", "column", "header"})
    if unknown or "file" not in given:
        raise DssSyntaxError(f"expected file=, column=, header=, got {', '.join(unknown) or text!r}")
    return NumberFile(given["file"], whole(given.get("column", "1")), truth(given.get("header", "no")))


_IMPEDANCE: dict[str, Reader] = {
    **dict.fromkeys(("r1", "x1", "r0", "x0", "c1", "c0", "basefreq", "normamps"), number),
    **dict.fromkeys(("rmatrix", "xmatrix", "cmatrix"), matrix),
    "units": name,
}
_TRANSFORMER: dict[str, Reader] = {
    "phases": whole,
    "windings": whole,
    "wdg": whole,
    "bus": bus,
    "buses": words,
    "conn": name,
    "conns": words,
    "leadlag": name,
    "xfmrcode": name,
    **dict.fromkeys(("kv", "kva", "tap", "%r", "mintap", "maxtap", "xhl", "x12", "%loadloss", "%noloadloss"), number),
    **dict.fromkeys(("%imag", "ppm", "ppm_antifloat", "basefreq"), number),
    **dict.fromkeys(("kvs", "kvas", "taps", "%rs"), numbers),
    "numtaps": whole,
}

READ: dict[str, Mapping[str, Reader]] = {
    "vsource": {
        "bus1": bus,
        "phases": whole,
        **dict.fromkeys(("basekv", "pu", "angle", "mvasc3", "mvasc1", "isc3", "isc1"), number),
        **dict.fromkeys(("r1", "x1", "r0", "x0", "x1r1", "x0r0", "basefreq"), number),
    },
    "linecode": {"nphases": whole, **_IMPEDANCE},
    "line": {
        "bus1": bus,
        "bus2": bus,
        "linecode": name,
        "length": number,
        "phases": whole,
        "switch": truth,
        **_IMPEDANCE,
    },
    "transformer": _TRANSFORMER,
    "xfmrcode": _TRANSFORMER,
    "load": {
        "bus1": bus,
        "phases": whole,
        "conn": name,
        "model": whole,
        **dict.fromkeys(("kv", "kw", "kvar", "pf", "kva", "vminpu", "vmaxpu", "vlowpu", "basefreq"), number),
        "zipv": numbers,
        **dict.fromkeys(("daily", "yearly", "duty"), name),
    },
    "capacitor": {
        "bus1": bus,
        "bus2": bus,
        "phases": whole,
        "conn": name,
        "kv": number,
        "kvar": number,
        "basefreq": number,
        "numsteps": whole,
    },
    "regcontrol": {
        "transformer": name,
        "winding": whole,
        **dict.fromkeys(("vreg", "band", "ptratio", "ctprim", "r", "x", "delay"), number),
        "maxtapchange": whole,
    },
    "loadshape": {
        "npts": whole,
        **dict.fromkeys(("interval", "minterval", "sinterval"), number),
        "mult": file_or_numbers,
        "useactual": truth,
    },
}
ALIASES = {"circuit": "vsource"}  # a new circuit's properties are those of its source

# What changes nothing that is computed here: reliability, emergency ratings, drawing, customers, statistics.
PASSED: Mapping[str, frozenset[str]] = {
    key: frozenset(text.split()) | {"enabled", "like"}
    for key, text in {
        "vsource": "basemva frequency",
        "linecode": "emergamps faultrate pctperm repair rho rg xg neutral seasons",
        "line": "emergamps faultrate pctperm repair rho rg xg seasons",
        "transformer": "sub subname bank normhkva emerghkva flrise hsrise thermal n m faultrate pctperm repair core",
        "xfmrcode": "normhkva emerghkva flrise hsrise thermal n m",
        "load": "class numcust status growth rneut xneut xfkva allocationfactor relweight %mean %stddev spectrum",
        "capacitor": "normamps emergamps faultrate pctperm repair",
        "regcontrol": "tapdelay debugtrace eventlog inversetime",
        "loadshape": "action mean stddev",
    }.items()
}
IGNORED_CLASSES = frozenset({"energymeter", "monitor", "spectrum", "growthshape", "tcc_curve"})
IGNORED_COMMANDS = frozenset({
    "clear", "clearall", "solve", "calcvoltagebases", "calcv", "show", "plot", "export", "visualize", "interpolate",
    "closedi", "reset", "sample",
})  # fmt: skip
IGNORED_OPTIONS = frozenset({
    "mode", "number", "controlmode", "maxiterations", "maxiter", "tolerance", "maxcontroliter", "algorithm", "casename",
    "stepsize", "hour", "year", "overloadreport", "voltexcept", "demand", "marktransformers",
})  # fmt: skip
