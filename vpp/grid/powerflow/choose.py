"""Choosing an engine, and saying why."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable

import numpy as np

from vpp.grid.network import Network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.pandapower_engine import PandaPower
from vpp.grid.powerflow.port import PowerFlow, Solution, Unsuitable
from vpp.grid.powerflow.tree import TreeSweep, is_radial
from vpp.grid.tables import FloatArray
from vpp.kernel.errors import Diverged, NetworkError

ENGINES: dict[str, Callable[[Network], PowerFlow]] = {
    "tree": TreeSweep,
    "lightsim2grid": LightSim2Grid,
    "pandapower": PandaPower,
}


def choose(network: Network, name: str = "auto") -> tuple[PowerFlow, str]:
    """Pick an engine for a network: the engine and the reason in words.

    Raises:
        NetworkError: no such engine, or the named one cannot solve this network.
    """
    if network.n_node == 0 or len(network.slack_node) == 0:
        raise NetworkError(network.source, "has no energised source, so there is nothing to solve")
    if name == "auto":
        return _automatic(network)
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ENGINES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NetworkError(network.source, f"no power-flow engine {name!r}; there are auto, {', '.join(ENGINES)}{hint}")
    try:
        return ENGINES[name](network), "named by the user"
    except Unsuitable as error:
        raise NetworkError(network.source, f"engine {name!r} cannot solve it: {error}") from error
    except ImportError as error:
        raise NetworkError(network.source, f"engine {name!r} is not installed: {error}") from error


def _automatic(network: Network) -> tuple[PowerFlow, str]:
    """Tree sweep where it can, else Newton-Raphson, else the reference."""
    obstacle = is_radial(network)
    if not obstacle:
        trees, n = len(network.slack_node), network.n_node
        return TreeSweep(network), f"radial ({trees} tree{'s' * (trees > 1)}, {n} nodes), PQ only: tree sweep"
    if importlib.util.find_spec("lightsim2grid") is not None:
        return LightSim2Grid(network), f"{obstacle}: Newton-Raphson by lightsim2grid"
    return PandaPower(network), f"{obstacle}, lightsim2grid not installed: pandapower"


def check_first_solve(engine: PowerFlow, network: Network, p_mw: FloatArray, q_mvar: FloatArray) -> Solution:
    """Solve once and return the solution, or say why a network does not converge.

    Raises:
        Diverged: with the loads in total, the share of them that would still converge, and the lowest bus there.
    """
    solution = engine.solve(p_mw, q_mvar)
    if solution.converged:
        return solution
    p, q = np.asarray(p_mw), np.asarray(q_mvar)
    bad = np.flatnonzero(~(np.isfinite(p) & np.isfinite(q)))
    if len(bad):
        where = ", ".join(_bus(network, int(k)) for k in bad[:5])
        raise Diverged(network.name, f"{len(bad)} injections are not finite, the first at {where}")
    text = (
        f"the power flow ({engine.name}) does not converge at consumption {-p[p < 0].sum():.4g} MW, "
        f"{-q[q < 0].sum():.4g} Mvar and generation {p[p > 0].sum():.4g} MW"
    )
    share, last = _largest_share(engine, p, q)
    if last is not None:
        low = int(np.argmin(np.abs(last.v)))
        text += f"; it does at {share:.3g} times that, with {abs(last.v[low]):.3f} pu at {_bus(network, low)}"
        text += ": check units, ratings and open switches"
    else:
        text += ", nor without any injection: check the admittances (zero impedances, units)"
    raise Diverged(network.name, text)


def _largest_share(engine: PowerFlow, p: FloatArray, q: FloatArray) -> tuple[float, Solution | None]:
    """Halve the injections until they converge: the share and its solution."""
    share = 0.5
    for _ in range(10):
        solution = engine.solve(p * share, q * share)
        if solution.converged:
            return share, solution
        share /= 2
    solution = engine.solve(np.zeros_like(p), np.zeros_like(q))
    return (0.0, solution) if solution.converged else (0.0, None)


def _bus(network: Network, node: int) -> str:
    """Name a node for a message."""
    bus = int(network.node_bus[node])
    if bus < 0:
        return f"an inner node ({node})"
    return f"bus {network.bus_id[bus]} {network.bus_name[bus]!r}"
