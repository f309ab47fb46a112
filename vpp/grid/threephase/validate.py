"""What is wrong with a three-phase network, all of it at once, each with how to mend it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from vpp.grid.finding import LEVELS, GridFinding
from vpp.grid.threephase.feeder import GROUND, Capacitor, Feeder, Load, Node
from vpp.grid.threephase.network import ThreePhaseNetwork
from vpp.kernel.errors import NetworkError

RATIO_WRONG, RATIO_ODD = 0.3, 0.15  # a rated voltage against the base of its node
NEUTRAL: Final = 4


def validate(network: ThreePhaseNetwork) -> list[GridFinding]:
    """Find everything that is wrong; errors first."""
    found = [finding for rule in RULES for finding in rule(network)]
    return sorted(found, key=lambda f: LEVELS.index(f.level))


def unreadable(error: NetworkError) -> list[GridFinding]:
    """What the reader or the compiler found, one finding a line."""
    mend = "correct it, or leave it out where it changes nothing"
    return [GridFinding("not-read", "error", "network", (), line, mend) for line in error.reason.splitlines()]


def _say(rule: str, level: str, kind: str, names: list[str], message: str, mend: str) -> Iterator[GridFinding]:
    """One finding for all elements named, if there are any."""
    if names:
        yield GridFinding(rule, level, kind, tuple(names), message, mend)


def _supply(network: ThreePhaseNetwork) -> Iterator[GridFinding]:
    """Nodes without a source, and what is connected to them."""
    dead = np.flatnonzero(~network.node_on & (network.node_bus >= 0))
    yield from _say(
        "no-supply", "warning", "node", [network.node_name(k) for k in dead.tolist()], "no source feeds them",
        "connect them, or leave them out",
    )  # fmt: skip
    legs = network.legs
    of = np.unique(legs.load[np.isin(legs.a, dead) & (legs.load >= 0)])
    yield from _say(
        "at-dead-bus", "warning", "load", [network.load_name[k] for k in of.tolist()],
        "its node has no supply: it counts as nothing", "supply the node",
    )  # fmt: skip


def _voltages(network: ThreePhaseNetwork) -> Iterator[GridFinding]:
    """Rated voltages that do not fit the nodes: a load takes another power then, a transformer another ratio."""
    feeder = network.feeder
    if feeder is None:
        return
    at = network.node_index()
    live = np.where(network.node_on, network.node_v_base, np.nan)  # a dead node has no base worth the name
    base = {node: float(live[at[f"{node[0]}.{node[1]}"]]) for node in _nodes(feeder)}
    rated: list[tuple[str, str, float, float]] = []  # kind, name, rated V, base V
    parts: list[tuple[str, Load | Capacitor]] = [("load", x) for x in feeder.loads]
    parts += [("capacitor", x) for x in feeder.capacitors]
    for kind, part in parts:
        a, b = part.legs[0]
        rated.append((kind, part.name, part.kv * 1e3, _root(b) * base[a]))
    for t in feeder.transformers:
        for side, w in zip(("first", "second"), t.windings, strict=True):
            root = math.sqrt(3.0) if t.phases > 1 else _root(w.nodes[1] if len(w.nodes) > 1 else GROUND)
            rated.append(("transformer", f"{t.name} ({side} winding)", w.kv * 1e3, root * base[w.nodes[0]]))
    text, mend = "its rated voltage is far from its node's", "is it line to line where line to neutral is meant? check kv"
    for kind in ("load", "capacitor", "transformer"):
        off = [(name, abs(v / b - 1.0)) for k, name, v, b in rated if k == kind and b > 0.0]
        yield from _say("voltage-level", "error", kind, [n for n, d in off if d > RATIO_WRONG], text, mend)
        yield from _say("voltage-level", "warning", kind, [n for n, d in off if RATIO_ODD < d <= RATIO_WRONG], text, mend)


def _root(other: Node) -> float:
    """What a voltage between a phase and another node is, in that to neutral."""
    return math.sqrt(3.0) if other != GROUND and other[1] != NEUTRAL else 1.0


def _nodes(feeder: Feeder) -> set[Node]:
    """Nodes that loads, capacitors and windings stand at first."""
    legs = {load.legs[0][0] for load in feeder.loads} | {bank.legs[0][0] for bank in feeder.capacitors}
    return {*legs, *(w.nodes[0] for t in feeder.transformers for w in t.windings)}


def _impedances(network: ThreePhaseNetwork) -> Iterator[GridFinding]:
    """Lines and transformers that nothing has, and those without a rating."""
    feeder = network.feeder
    if feeder is None:
        return
    lines = [line for line in feeder.lines if not line.switch]
    negative = [line.name for line in lines if np.diag(line.z_ohm).real.min() < 0.0]
    fix = "correct the line code (ohm a length, and its unit)"
    yield from _say("impossible-impedance", "error", "line", negative, "a conductor's resistance is negative", fix)
    odd = [line.name for line in lines if np.linalg.eigvalsh(line.z_ohm.real).min() < -1e-9 * np.abs(line.z_ohm).max()]
    text = "its resistances would generate power in some mode"
    yield from _say("impossible-impedance", "error", "line", sorted(set(odd) - set(negative)), text, fix)
    flat = [t.name for t in feeder.transformers if t.x_percent <= 0.0]
    yield from _say("odd-impedance", "warning", "transformer", flat, "its reactance is not above 0", "state xhl in percent")
    unrated = [line.name for line in lines if not line.i_max_a > 0.0]
    yield from _say("unrated", "info", "line", unrated, "there is no rated current", "state normamps, or its loading is unknown")


def _taps(network: ThreePhaseNetwork) -> Iterator[GridFinding]:
    """Taps outside their range or between their steps."""
    feeder = network.feeder
    windings = [] if feeder is None else [(t.name, w) for t in feeder.transformers for w in t.windings]
    outside = [name for name, w in windings if not w.tap_min - 1e-9 <= w.tap <= w.tap_max + 1e-9]
    yield from _say("tap-range", "error", "transformer", outside, "tap is outside mintap…maxtap", "correct the tap")
    between = []
    for name, w in windings:
        step = (w.tap_max - w.tap_min) / w.tap_steps if w.tap_steps else 0.0
        if step > 0.0 and abs((w.tap - 1.0) / step - round((w.tap - 1.0) / step)) > 0.02:
            between.append(name)
    text = "tap is between two steps: it stays so until a control moves it"
    yield from _say("tap-range", "info", "transformer", between, text, "state a multiple of the step")


def _engines(network: ThreePhaseNetwork) -> Iterator[GridFinding]:
    """Who cannot take it."""
    yield GridFinding(
        "engine", "info", "network", (), "engines tree, lightsim2grid and pandapower are of balanced networks",
        "nothing to do: it is solved in phase coordinates; vpp grid n1 and convert and scenarios need a balanced network",
    )  # fmt: skip
    neutral = [network.node_name(k) for k in np.flatnonzero(network.node_on & (network.node_phase >= NEUTRAL)).tolist()]
    text, mend = "a carried neutral: the state estimator cannot take it", "reduce it into the phases (Kron) to estimate"
    yield from _say("engine", "info", "node", neutral, text, mend)
    feeder = network.feeder
    controls = [r.name for r in feeder.regulators] if feeder is not None else []
    text, mend = "its tap stays where it is in vpp grid flow", "vpp.grid.threephase.regulators.settle lets it move"
    yield from _say("engine", "info", "regulator", controls, text, mend)
    for note in network.notes:
        yield GridFinding("note", "info", "network", (), note, "nothing to do if it is meant so")


RULES: Final[tuple[Callable[[ThreePhaseNetwork], Iterator[GridFinding]], ...]] = (
    _supply, _voltages, _impedances, _taps, _engines,
)  # fmt: skip
