"""Measurements as a table of text: which quantity of which element, its value and its sigma."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from controllers.estimation.measured import ANGLE, CURRENT, KINDS, VM, Grid, Meters, P, Q
from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.threephase.network import BRANCH_KINDS as PHASE_KINDS
from vpp.grid.threephase.network import ThreePhaseNetwork
from vpp.kernel.errors import NetworkError
from vpp.kernel.near import did_you_mean
from vpp.kernel.signals import FloatArray

COLUMNS: Final = ("quantity", "element", "value", "sigma")
SIDES: Final = {"from": 0, "hv": 0, "to": 1, "lv": 1}


@dataclass(frozen=True, slots=True)
class Measured:
    """Meters with what they showed; the names are quantity and element."""

    meters: Meters
    z: FloatArray


@dataclass(frozen=True, slots=True)
class Places:
    """Where something can be measured.

    Attributes:
        node: node of the grid by the word that follows "bus"; ValueError says what is wrong with it.
        branch: branch of the grid by its kind and name.
        kinds: of branches.
    """

    node: Callable[[str], int]
    branch: Mapping[str, int]
    kinds: Sequence[str]

    @classmethod
    def of_network(cls, network: Network, grid: Grid) -> Places:
        """Buses by id or name, branches as ``line 3``."""
        return cls(partial(_node, network), {name: k for k, name in enumerate(grid.branch_name)}, BRANCH_KINDS)

    @classmethod
    def of_threephase(cls, network: ThreePhaseNetwork, grid: Grid) -> Places:
        """Phases of buses as ``bus 671.3``, conductors of branches as ``line 650632.1``."""
        nodes = {name: k for k, name in enumerate(grid.node_name)}
        first, split, last = network.branch_start[:-1], network.branch_split, network.branch_start[1:]
        kind = np.repeat(network.branch_kind, np.minimum(split - first, last - split))
        branch = {f"{PHASE_KINDS[kind[k]]} {name}": k for k, name in enumerate(grid.branch_name)}

        def node(text: str) -> int:
            if text not in nodes:
                raise ValueError(f"no phase {text} of a bus{did_you_mean(text, nodes)}")
            return nodes[text]

        return cls(node, branch, PHASE_KINDS)


def read_measurements(path: Path, places: Places, grid: Grid) -> Measured:
    """Read a CSV file with the columns quantity, element, value, sigma.

    Quantities are vm_pu, va_degree, p_mw, q_mvar and i_ka; elements are written ``bus 5``, ``line 3 from``, ``trafo 0
    lv``, in a three-phase network ``bus 671.3`` and ``line 632_671.1 from``. Powers at a bus are injections, at a branch
    they flow into it. Lines that begin with ``#`` are remarks.

    Raises:
        NetworkError: the file cannot be read; the message lists every line that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(str(path), f"cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    rows = [(k, line) for k, line in enumerate(text, 1) if line.strip() and not line.startswith("#")]
    head = [name.strip() for name in rows[0][1].split(",")] if rows else []
    if sorted(head) != sorted(COLUMNS):
        raise NetworkError(str(path), f"its first line must name the columns {', '.join(COLUMNS)}")
    found: list[tuple[int, int, float, float, str]] = []
    wrong: list[str] = []
    for number, values in zip((k for k, _ in rows[1:]), csv.reader(line for _, line in rows[1:])):
        try:
            found.append(_row(dict(zip(head, (v.strip() for v in values), strict=True)), places, grid))
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    if wrong or not found:
        raise NetworkError(str(path), "; ".join(wrong) or "it holds no measurement")
    kind, row, value, sigma, name = zip(*found, strict=True)
    m = len(found)
    return Measured(Meters(np.array(kind), np.array(row), np.array(sigma), np.zeros(m, np.bool_), name), np.array(value))


def _row(row: dict[str, str], places: Places, grid: Grid) -> tuple[int, int, float, float, str]:
    """Kind, row of current or node, value and sigma in pu, and name of one measurement; ValueError says what is wrong."""
    quantity, element = row["quantity"], row["element"]
    if quantity not in KINDS:
        raise ValueError(f"no quantity {quantity!r}{did_you_mean(quantity, KINDS)}")
    kind = KINDS.index(quantity)
    value, sigma = (_number(row, name) for name in ("value", "sigma"))
    if not sigma > 0.0:
        raise ValueError("sigma must be above zero")
    words = element.split()
    if words[:1] == ["bus"] and len(words) == 2:
        where, base_ka = places.node(words[1]), math.nan
        if kind == CURRENT:
            raise ValueError("a current is measured at a branch, not at a bus")
    elif len(words) == 3 and words[2] in SIDES and words[0] in places.kinds:
        if kind in (VM, ANGLE):
            raise ValueError("a voltage is measured at a bus, not at a branch")
        name, side = " ".join(words[:2]), SIDES[words[2]]
        if name not in places.branch:
            raise ValueError(f"no {name}{did_you_mean(name, places.branch)}")
        at = places.branch[name], side
        where, base_ka = int(grid.branch_row[at]), float(grid.i_base_ka[at])
        if where < 0:
            raise ValueError(f"{name} is switched off")
    else:
        raise ValueError(f"{element!r} is no element: write 'bus 5' or 'line 3 from'")
    base = {P: grid.p_base_mva, Q: grid.p_base_mva, CURRENT: base_ka, ANGLE: 180.0 / math.pi}.get(kind, 1.0)
    return kind, where, value / base, sigma / base, f"{quantity} {element}"


def _number(row: dict[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        raise ValueError(f"{name} {row[name]!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
    return value


def _node(network: Network, text: str) -> int:
    """Node of a bus by its id or its name."""
    at = [k for k, name in enumerate(network.bus_name) if name == text]
    if text.lstrip("-").isdigit():
        at = np.flatnonzero(network.bus_id == int(text)).tolist() or at
    if len(at) != 1:
        known = [*map(str, network.bus_id.tolist()), *network.bus_name]
        raise ValueError(f"{len(at)} buses are called {text!r}" if at else f"no bus {text}{did_you_mean(text, known)}")
    if network.node_of_bus[at[0]] < 0:
        raise ValueError(f"bus {text} is not energised")
    return int(network.node_of_bus[at[0]])
