"""What a pandapower network says is measured (SimBench's ``Measurement`` table), as a table of the compiled network."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vpp.grid.network import BRANCH_KINDS
from vpp.grid.tables import ByteArray, Int32Array, IntArray, Metered

_QUANTITY: Final = {"v": "vm_pu", "va": "va_degree", "p": "p_mw", "q": "q_mvar", "i": "i_ka"}
_LEGS: Final = {"line": ("from", "to"), "trafo": ("hv", "lv"), "trafo3w": ("hv", "mv", "lv"), "impedance": ("from", "to")}


def metered_table(net: Any, position: Int32Array, branch_kind: ByteArray, branch_id: IntArray) -> Metered:
    """Collect the measurements of buses and branches; what stands at no bus or branch of the network is left out.

    Args:
        net: the pandapower network; a side may be a word or the bus that it stands at.
        position: bus position by bus id, its last entry -1.
        branch_kind: (n_branch,) of the compiled network.
        branch_id: (n_branch,) of the compiled network.
    """
    rows = {kind: np.flatnonzero(branch_kind == BRANCH_KINDS.index(kind)) for kind in _LEGS}
    found: list[tuple[str, int, int, bool, float, str]] = []
    for m in net["measurement"].itertuples() if "measurement" in net else ():
        quantity, kind, element = _QUANTITY.get(m.measurement_type, ""), m.element_type, int(m.element)
        sigma = float(m.std_dev) if m.std_dev is not None else float("nan")
        name = str(m.name) if isinstance(m.name, str) else ""
        if not quantity:
            continue
        if kind == "bus" and 0 <= element < len(position) and position[element] >= 0:
            found.append((quantity, int(position[element]), -1, False, sigma, name))
        elif kind in _LEGS and (side := _side(net, kind, element, m.side)):
            leg = _LEGS[kind].index(side)
            at = rows[kind][branch_id[rows[kind]] == element]
            row = int(at[leg]) if kind == "trafo3w" else int(at[0])
            found.append((quantity, -1, row, leg == 0, sigma, name))
    quantities, bus, branch, at_from, sigmas, names = zip(*found, strict=True) if found else ((),) * 6
    places = np.array(bus, np.int32), np.array(branch, np.int32), np.array(at_from, np.bool_)
    return Metered(quantities, *places, np.array(sigmas, np.float64), names)


def _side(net: Any, kind: str, element: int, said: Any) -> str:
    """Which end of a branch a measurement stands at, "" where there is no such end."""
    if element not in net[kind].index:
        return ""
    if isinstance(said, str) and said in _LEGS[kind]:
        return said
    ends = {int(net[kind].at[element, f"{leg}_bus"]): leg for leg in reversed(_LEGS[kind])}
    try:
        return ends.get(int(said), "")
    except (TypeError, ValueError):
        return ""
