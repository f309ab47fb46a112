"""What a unit's file says of itself: variables, units of measurement, abilities, binaries. Nothing is loaded or run.

FMI 2.0.4 and FMI 3.0.1: clause 2.2 (2.4 in FMI 3) describes ``modelDescription.xml``, 2.3 (2.5) the file's folders.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.etree import ElementTree as ET

from vpp.kernel.near import did_you_mean

VERSIONS: Final = ("2.0", "3.0")
REALS: Final = ("Real", "Float64", "Float32")
# Units of measurement by name, where a file gives no base units: exponents of kg, m, s, A, K, mol, cd; factor to the SI unit.
Dimension = tuple[int, ...]
POWER, ENERGY, VOLTAGE = (1, 2, -3, 0, 0, 0, 0), (1, 2, -2, 0, 0, 0, 0), (1, 2, -3, -1, 0, 0, 0)
TIME, PER_SECOND, NUMBER = (0, 0, 1, 0, 0, 0, 0), (0, 0, -1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0)
_BY_NAME: Final = {
    **{f"{p}{u}": (POWER, f) for p, f in (("", 1.0), ("k", 1e3), ("M", 1e6)) for u in ("W", "VA", "var", "VAr", "VAR")},
    **{f"{p}{u}h": (ENERGY, 3600.0 * f) for p, f in (("", 1.0), ("k", 1e3), ("M", 1e6)) for u in ("W",)},
    "J": (ENERGY, 1.0), "V": (VOLTAGE, 1.0), "kV": (VOLTAGE, 1e3), "s": (TIME, 1.0), "min": (TIME, 60.0), "h": (TIME, 3600.0),
    "Hz": (PER_SECOND, 1.0), "1": (NUMBER, 1.0), "-": (NUMBER, 1.0), "pu": (NUMBER, 1.0),
    "p.u.": (NUMBER, 1.0), "%": (NUMBER, 0.01),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a unit.

    Attributes:
        name, ref, type: as the file states them; ``type`` is FMI's ("Real", "Float64", "Boolean" …).
        accessor: name of the functions that read and write it.
        causality: "input", "output", "parameter", "local" …; ``variability`` likewise.
        unit: unit of measurement, "" where none is stated.
        measure: its dimension and factor to SI, None where that is not known.
        start: start value as written, "" for none.
        array: whether it is more than one number.
    """

    name: str
    ref: int
    type: str
    accessor: str
    causality: str
    variability: str
    unit: str
    measure: tuple[Dimension, float] | None
    start: str
    array: bool


@dataclass(frozen=True, slots=True)
class Description:
    """A co-simulation unit as its file describes it.

    Attributes:
        path: the file.
        version: "2.0" or "3.0".
        token: GUID or instantiation token.
        identifier: name of the shared library.
        variables: by name.
        only_once: it can be instantiated only once in a process.
        keeps_state: its state can be taken out as bytes and put back.
        fixed_step_s: its internal step, of which a communication step must be a multiple; None where it has none.
    """

    path: Path
    version: str
    token: str
    identifier: str
    variables: Mapping[str, Variable]
    only_once: bool
    keeps_state: bool
    fixed_step_s: float | None

    def variable(self, name: str) -> Variable:
        """The variable of this name.

        Raises:
            ValueError: there is none; the message names the nearest.
        """
        if name not in self.variables:
            raise ValueError(f"{self.path.name} has no variable {name!r}{did_you_mean(name, self.variables)}")
        return self.variables[name]


def describe(path: Path) -> Description:
    """Read a unit's description.

    Raises:
        ValueError: it is no FMU, or none that can be run here; the message says why.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from None
    return _describe(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _describe(path: Path, mtime_ns: int, size: int) -> Description:
    from fmpy import read_model_description

    names, text, version = _members(path)
    if version not in VERSIONS:
        raise ValueError(f"{path.name} is FMI {version}; units of FMI 2.0 and 3.0 can be run")
    try:
        found = read_model_description(_alone(text))
    except Exception as error:
        reason = " ".join(str(error).split()).removeprefix("Failed to validate modelDescription.xml: - ")
        raise ValueError(f"{path.name}: modelDescription.xml is not right: {reason[:300]}") from error
    mode = found.coSimulation
    if mode is None:
        raise ValueError(f"{path.name} is for model exchange only, without a solver of its own; export it for co-simulation")
    _find_binary(path, found.fmiVersion, mode.modelIdentifier, names)
    units = {unit.name: _measure(unit.baseUnit) for unit in found.unitDefinitions or () if unit.baseUnit is not None}
    whole = "Integer" if found.fmiVersion == "2.0" else "Int64"  # how an enumeration is read and written
    variables = {variable.name: _variable(variable, units, whole) for variable in found.modelVariables}
    return Description(
        path, found.fmiVersion, found.guid if found.fmiVersion == "2.0" else found.instantiationToken, mode.modelIdentifier,
        MappingProxyType(variables), bool(mode.canBeInstantiatedOnlyOncePerProcess),
        bool(mode.canGetAndSetFMUstate and mode.canSerializeFMUstate), mode.fixedInternalStepSize,
    )  # fmt: skip


def _members(path: Path) -> tuple[list[str], bytes, str]:
    """Names of the files inside, the description, and the version of FMI."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            text = archive.read("modelDescription.xml")
    except (OSError, zipfile.BadZipFile):
        raise ValueError(f"{path.name} is no FMU: it is not a ZIP file") from None
    except KeyError:
        raise ValueError(f"{path.name} is no FMU: it has no modelDescription.xml") from None
    try:
        return names, text, ET.fromstring(text).get("fmiVersion", "of no version")
    except ET.ParseError as error:
        raise ValueError(f"{path.name}: modelDescription.xml is not right: {error}") from None


def _alone(text: bytes) -> io.BytesIO:
    """The description alone in an archive in memory: fmpy leaves files open where it raises."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("modelDescription.xml", text)
    memory.seek(0)
    return memory


def _find_binary(path: Path, version: str, identifier: str, names: list[str]) -> None:
    """Make sure that the unit has a library for this machine."""
    import fmpy

    here = fmpy.platform if version == "2.0" else fmpy.platform_tuple
    if f"binaries/{here}/{identifier}{fmpy.sharedLibraryExtension}" in names:
        return
    inside = [name.split("/") for name in names if name.startswith("binaries/")]
    others = sorted({parts[1] for parts in inside if len(parts) == 3 and parts[2]})
    has = ", ".join(others) or ("source code only" if any(name.startswith("sources/") for name in names) else "none at all")
    raise ValueError(f"{path.name} has no binary for {here}, this machine (it has: {has})")


def _measure(base: Any) -> tuple[Dimension, float]:
    """Dimension and factor of base units."""
    return (base.kg, base.m, base.s, base.A, base.K, base.mol, base.cd), float(base.factor)


def _variable(found: Any, units: Mapping[str, tuple[Dimension, float]], whole: str) -> Variable:
    unit = found.unit or (found.declaredType.unit if found.declaredType is not None else None) or ""
    measure = units.get(unit, _BY_NAME.get(unit))
    array = bool(found.dimensions) or bool(found.shape)
    start = "" if found.start is None else str(found.start)
    causality, variability = found.causality or "local", found.variability or ""
    accessor = whole if found.type == "Enumeration" else found.type
    return Variable(
        found.name, found.valueReference, found.type, accessor, causality, variability, unit, measure, start, array
    )  # fmt: skip
