"""What each power-flow engine cannot do with a network, and what stands in for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from vpp.grid.finding import GridFinding
from vpp.grid.model import NetworkModel
from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.powerflow.tree import is_radial
from vpp.grid.tables import BoolArray

# Kinds that pandapower has and our format has not: whether the engines take them, and what to put in their place.
NOT_KEPT: Final = {
    "motor": (True, "put a load of its power there"),
    "asymmetric_load": (True, "put a load of the sum of its phases there, or write the feeder as .dss for a three-phase flow"),
    "asymmetric_sgen": (True, "put a static generator of the sum of its phases there"),
    "dcline": (True, "put a static generator at each of its ends, or generators where they hold the voltage"),
    "svc": (False, "put a generator with its limits of reactive power there, or a shunt where it is fixed"),
    "ssc": (False, "put a generator with its limits of reactive power there"),
    "tcsc": (False, "put an impedance of its present reactance there"),
    "vsc": (False, "put a generator, or a static generator where it holds no voltage, at its AC side"),
    "vsc_stacked": (False, "put a generator, or a static generator where it holds no voltage, at each AC side"),
    "vsc_bipolar": (False, "put a generator, or a static generator where it holds no voltage, at each AC side"),
    "bus_dc": (False, "leave the DC network out: put static generators at the AC sides of its converters"),
    "line_dc": (False, "leave the DC network out: put static generators at the AC sides of its converters"),
    "load_dc": (False, "leave the DC network out: put static generators at the AC sides of its converters"),
    "source_dc": (False, "leave the DC network out: put static generators at the AC sides of its converters"),
}
OTHERWISE: Final = (False, "replace it by equivalent injections or branches")


def _tree(network: Network) -> tuple[str, str]:
    """The tree sweep takes forests without voltage-controlled nodes."""
    return is_radial(network), "use lightsim2grid or pandapower (auto does); or open a switch, or make its generators static"


def _lightsim2grid(network: Network) -> tuple[str, str]:
    """Newton-Raphson on our admittances takes everything, where it is installed."""
    gone = importlib.util.find_spec("lightsim2grid") is None
    return "it is not installed" if gone else "", "install lightsim2grid"


def _pandapower(network: Network) -> tuple[str, str]:
    """The reference loads the source again."""
    return ("" if network.digest else "its source is not what it was compiled from"), "load the network from a file"


def _phases(network: Network) -> tuple[str, str]:
    """The three-phase solver takes balanced networks without voltage-controlled nodes."""
    text = f"{len(network.pv_node)} voltage-controlled (PV) nodes" if len(network.pv_node) else ""
    return text, "make the generators static, with a volt-var curve; or use a balanced engine"


LIMITS: Final[dict[str, Callable[[Network], tuple[str, str]]]] = {
    "tree": _tree, "lightsim2grid": _lightsim2grid, "pandapower": _pandapower, "current-injection": _phases,
}  # fmt: skip


def engines(network: Network) -> Iterator[GridFinding]:
    """What each engine cannot solve, and what was decided when the network was compiled."""
    if network.n_node:
        for name, limit in LIMITS.items():
            reason, mend = limit(network)
            if reason:
                yield GridFinding("engine", "info", "network", (), f"engine {name} cannot solve it: {reason}", mend)
    for note in network.notes:
        yield GridFinding("note", "info", "network", (), note, "nothing to do if it is meant so")


def elements(model: NetworkModel, network: Network | None) -> Iterator[GridFinding]:
    """Elements that all engines leave out or take otherwise than they are stated."""
    for kind, count in model.unsupported.items():
        taken, mend = NOT_KEPT.get(kind, OTHERWISE)
        how = "engines take them, our format does not keep them" if taken else "no engine takes them"
        yield GridFinding("unsupported", "error", kind, (), f"{count} elements of the source are {kind}: {how}", mend)
    t = model.tables["load"]
    zip_parts = np.sum([np.abs(t[f"const_{a}_{b}_percent"]) for a in "zi" for b in "pq"], axis=0)
    yield from _say(
        model, "unsupported", "load", zip_parts > 0, "depends on voltage; balanced engines take it as constant power",
        "use the three-phase solver where it matters",
    )  # fmt: skip
    t = model.tables["gen"]
    bound = np.isfinite(t["q_min_mvar"]) | np.isfinite(t["q_max_mvar"])
    text = "no engine keeps its limits of reactive power: it holds its voltage at any price"
    mend = "compare its reactive power with them; where it is beyond, put a static generator at the limit"
    yield from _say(model, "engine", "gen", bound & ~t["slack"], text, mend)
    text = "no engine shares the imbalance out: the sources bring all of it"
    yield from _say(model, "engine", "gen", (t["slack_weight"] > 0) & ~t["slack"], text, "state its share as p_mw")
    if network is not None:
        yield from _fixed_taps(model, network)


def _fixed_taps(model: NetworkModel, network: Network) -> Iterator[GridFinding]:
    """Tap changers that a power flow takes where they stand, but no control or optimisation moves."""
    for kind in ("trafo", "trafo3w"):
        t = model.tables[kind]
        at = network.taps.branch[network.branch_kind[network.taps.branch] == BRANCH_KINDS.index(kind)]
        able = np.isfinite(t["tap_pos"]) & (t["tap_max"] > t["tap_min"])
        fixed = able & ~np.isin(t["id"], network.branch_id[at])
        yield from _say(
            model, "engine", kind, fixed, "its tap counts where it stands, but nothing moves it",
            "state tap_side, whole positions and tap_step_percent without an angle",
        )  # fmt: skip


def _say(model: NetworkModel, rule: str, kind: str, mask: BoolArray, message: str, mend: str) -> Iterator[GridFinding]:
    """One finding for all elements of a mask that are in service, if there are any."""
    table = model.tables[kind]
    rows = np.flatnonzero(np.asarray(mask, np.bool_) & np.asarray(table["in_service"], np.bool_))
    if len(rows):
        yield GridFinding(rule, "info", kind, tuple(table["id"][rows].tolist()), message, mend)
