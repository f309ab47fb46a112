"""What is wrong with a network, all of it at once, each with how to mend it. Nothing is changed, nothing is raised.

Errors make results meaningless or impossible, warnings are probably not meant, "info" is what an engine cannot do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from vpp.grid.engine_limits import elements, engines
from vpp.grid.finding import LEVELS, GridFinding
from vpp.grid.model import NetworkModel
from vpp.grid.network import Network
from vpp.grid.tables import BoolArray, FloatArray
from vpp.grid.topology import Operation, Topology

RATIO_WRONG, RATIO_ODD = 0.3, 0.15  # rated voltage of a winding against its bus
SHORT_PU: Final = 1e-7  # |z| of a branch below which power flows become ill-conditioned, on 1 MVA
_ENDS: Final = {
    "line": ("from_bus", "to_bus"), "trafo": ("hv_bus", "lv_bus"), "trafo3w": ("hv_bus", "mv_bus", "lv_bus"),
    "impedance": ("from_bus", "to_bus"), "switch": ("bus",),
    **dict.fromkeys(("source", "load", "sgen", "storage", "gen", "shunt", "ward", "xward"), ("bus",)),
}  # fmt: skip
_NEEDED: Final = {
    "line": ("length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km"),
    "trafo": ("s_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent"),
    "trafo3w": ("s_hv_mva", "s_mv_mva", "s_lv_mva", "vk_hv_percent", "vk_mv_percent", "vk_lv_percent"),
    "impedance": ("rft_pu", "xft_pu", "s_mva"), "source": ("vm_pu",), "gen": ("p_mw", "vm_pu"),
    **dict.fromkeys(("load", "sgen", "storage", "shunt"), ("p_mw", "q_mvar")),
}  # fmt: skip
__all__ = ["GridFinding", "validate"]


class _Check:
    """A model with what all rules need."""

    def __init__(self, model: NetworkModel) -> None:
        """Look the ends of all elements up, and the connectivity."""
        self.model, self.t = model, model.tables
        position = model.position()
        self.at = {
            (kind, end): np.array([position.get(int(bus), -1) for bus in self.t[kind][end]], np.int64)
            for kind, ends in _ENDS.items()
            for end in ends
        }
        self.vn_kv = self.t["bus"]["vn_kv"]
        self.topology = Topology(model)

    def on(self, kind: str) -> BoolArray:
        """Mask of the elements that are in service."""
        return np.asarray(self.t[kind]["in_service"], np.bool_)

    def say(self, rule: str, level: str, kind: str, mask: BoolArray, message: str, mend: str) -> Iterator[GridFinding]:
        """One finding for all elements of a mask, if there are any."""
        rows = np.flatnonzero(mask)
        if len(rows):
            yield GridFinding(rule, level, kind, tuple(self.t[kind]["id"][rows].tolist()), message, mend)

    def kv(self, kind: str, end: str) -> FloatArray:
        """Nominal voltage of the bus at an end, NaN where there is none."""
        at = self.at[kind, end]
        return np.where(at >= 0, self.vn_kv[np.maximum(at, 0)] if len(self.vn_kv) else np.nan, np.nan)


def validate(model: NetworkModel, network: Network | None = None) -> list[GridFinding]:
    """Find everything that is wrong; errors first.

    Args:
        model: the elements.
        network: the compiled network, where it can be compiled; then the engines are asked as well.
    """
    check = _Check(model)
    with np.errstate(divide="ignore", invalid="ignore"):  # what divides by zero is found by another rule
        found = [finding for rule in RULES for finding in rule(check)]
    found += elements(model, network)
    if network is not None:
        found += engines(network)
    return sorted(found, key=lambda f: LEVELS.index(f.level))


def _references(c: _Check) -> Iterator[GridFinding]:
    """Elements at buses that are not there, and switches at elements that are not there."""
    for (kind, end), at in c.at.items():
        yield from c.say("no-bus", "error", kind, at < 0, f"{end} is no bus of the network", f"correct {end}, or add the bus")
    other = c.t["switch"]
    known = {"b": "bus", "l": "line", "t": "trafo", "t3": "trafo3w"}
    there = {et: c.model.position(kind) for et, kind in known.items()}
    missing = [
        et not in known or int(element) not in there[et] for et, element in zip(other["et"].tolist(), other["element"].tolist())
    ]
    yield from c.say(
        "no-element", "error", "switch", np.array(missing, np.bool_), "it switches nothing", "correct element and et"
    )
    for kind, table in c.t.items():
        ids, counts = np.unique(table["id"], return_counts=True)
        twice = np.isin(table["id"], ids[counts > 1])
        yield from c.say("same-id", "error", kind, twice, "the id is there more than once", "give each its own")


def _numbers(c: _Check) -> Iterator[GridFinding]:
    """Values that are missing, and magnitudes that are not positive."""
    for kind, names in _NEEDED.items():
        for name in names:
            gap = c.on(kind) & ~np.isfinite(c.t[kind][name])
            yield from c.say("missing-value", "error", kind, gap, f"{name} is missing", f"state {name}")
    bad = ~(c.vn_kv > 0)
    yield from c.say("voltage-level", "error", "bus", bad, "vn_kv is not above 0", "state the nominal voltage in kV")
    for kind, name in (
        ("line", "length_km"),
        ("trafo", "s_mva"),
        ("impedance", "s_mva"),
        ("line", "parallel"),
        ("trafo", "parallel"),
    ):
        wrong = c.on(kind) & (c.t[kind][name] <= 0)
        yield from c.say("impossible-value", "error", kind, wrong, f"{name} is not above 0", f"correct {name}")
    low, high = c.t["bus"]["vm_min_pu"], c.t["bus"]["vm_max_pu"]
    yield from c.say("voltage-band", "warning", "bus", low > high, "vm_min_pu is above vm_max_pu", "correct the band")
    unrated = c.on("line") & ~(c.t["line"]["max_i_ka"] > 0)
    yield from c.say("unrated", "info", "line", unrated, "there is no rated current", "state max_i_ka, or its loading is unknown")


def _impedances(c: _Check) -> Iterator[GridFinding]:
    """Impedances that nothing has."""
    t = c.t["line"]
    r, x = t["r_ohm_per_km"], t["x_ohm_per_km"]
    on = c.on("line")
    fix = "correct it (ohm per km)"
    yield from c.say("impossible-impedance", "error", "line", on & (r < 0), "the resistance is negative", fix)
    yield from c.say(
        "impossible-impedance", "error", "line", on & (r == 0) & (x == 0), "the impedance is zero", "use a switch instead"
    )
    yield from c.say("odd-impedance", "warning", "line", on & (x <= 0) & (r > 0), "the reactance is not above 0", fix)
    yield from c.say("impossible-impedance", "error", "line", on & (t["c_nf_per_km"] < 0), "the capacitance is negative", fix)
    base = c.kv("line", "from_bus") ** 2
    z = np.hypot(r, x) * t["length_km"] / np.maximum(t["parallel"], 1) / base
    tiny = on & (z > 0) & (z < SHORT_PU)
    yield from c.say("tiny-impedance", "warning", "line", tiny, "so short that power flows lose digits", "use a switch instead")
    yield from c.say(
        "odd-impedance", "warning", "line", on & (z > 50.0), "so long that nothing flows", "check length_km and its unit"
    )
    t, on = c.t["trafo"], c.on("trafo")
    vk, vkr = t["vk_percent"], t["vkr_percent"]
    yield from c.say("impossible-impedance", "error", "trafo", on & (vk <= 0), "vk_percent is not above 0", "state it in percent")
    yield from c.say("impossible-impedance", "error", "trafo", on & (vkr < 0), "vkr_percent is negative", "state it in percent")
    more = on & (vkr > vk)
    yield from c.say(
        "impossible-impedance", "error", "trafo", more, "vkr_percent is above vk_percent", "the real part is the smaller one"
    )
    small = on & (vk > 0) & (vk < 0.5)
    yield from c.say(
        "odd-impedance", "warning", "trafo", small, "vk_percent is below 0.5", "is it a fraction instead of a percentage?"
    )
    lossy = on & (np.abs(t["i0_percent"]) / 100.0 * t["s_mva"] * 1000.0 < t["pfe_kw"] * (1 - 1e-9))
    yield from c.say(
        "impossible-impedance", "error", "trafo", lossy, "iron losses above the no-load power", "correct pfe_kw or i0_percent"
    )
    t, on = c.t["impedance"], c.on("impedance")
    zero = on & ((np.hypot(t["rft_pu"], t["xft_pu"]) == 0) | (np.hypot(t["rtf_pu"], t["xtf_pu"]) == 0))
    yield from c.say("impossible-impedance", "error", "impedance", zero, "the impedance is zero", "use a switch instead")


def _levels(c: _Check) -> Iterator[GridFinding]:
    """Elements at the wrong voltage level."""
    for kind, ends in (("line", _ENDS["line"]),):
        a, b = (c.kv(kind, end) for end in ends)
        wrong = c.on(kind) & (np.abs(a - b) > 0.01 * np.maximum(a, b))
        yield from c.say(
            "voltage-level", "error", kind, wrong, "it joins two voltage levels", "put a transformer between, or correct vn_kv"
        )
    switch, kv = c.t["switch"], c.kv("switch", "bus")
    position = c.model.position()
    other = np.array([position.get(int(e), -1) for e in switch["element"]], np.int64)
    far = np.where(other >= 0, c.vn_kv[np.maximum(other, 0)] if len(c.vn_kv) else np.nan, np.nan)
    wrong = (switch["et"] == "b") & (np.abs(kv - far) > 0.01 * np.maximum(kv, far))
    yield from c.say("voltage-level", "error", "switch", wrong, "it joins two voltage levels", "correct the buses' vn_kv")
    for kind, sides in (("trafo", ("hv", "lv")), ("trafo3w", ("hv", "mv", "lv"))):
        for side in sides:
            off = np.abs(c.t[kind][f"vn_{side}_kv"] / c.kv(kind, f"{side}_bus") - 1.0)
            text, fix = f"vn_{side}_kv is far from its bus's vn_kv", "are the sides mixed up, or volts taken for kV?"
            yield from c.say("voltage-level", "error", kind, c.on(kind) & (off > RATIO_WRONG), text, fix)
            odd = c.on(kind) & (off > RATIO_ODD) & (off <= RATIO_WRONG)
            yield from c.say("voltage-level", "warning", kind, odd, text, "check the rated voltage")
        turned = c.on(kind) & (c.t[kind]["vn_hv_kv"] < c.t[kind][f"vn_{sides[-1]}_kv"])
        yield from c.say("voltage-level", "warning", kind, turned, "the hv side is below the lv side", "exchange the sides")


def _taps(c: _Check) -> Iterator[GridFinding]:
    """Tap changers that are incomplete or out of range."""
    for kind in ("trafo", "trafo3w"):
        t, on = c.t[kind], c.on(kind)
        moved = on & np.isfinite(t["tap_pos"])
        sided = np.isin(t["tap_side"], ("hv", "mv", "lv"))
        step = (np.nan_to_num(t["tap_step_percent"]) != 0) | (np.nan_to_num(t["tap_step_degree"]) != 0)
        away = moved & ~(t["tap_pos"] == t["tap_neutral"])
        text = "tap_pos is stated without side, neutral position or step: it has no effect"
        gap = away & ~(sided & step & np.isfinite(t["tap_neutral"]))
        yield from c.say("missing-tap", "error", kind, gap, text, "state tap_side, tap_neutral and tap_step_percent")
        unsure = moved & sided & step & (t["tap_changer_type"] == "")
        text = "tap_changer_type is missing: pandapower would ignore the position, here it counts as Ratio"
        yield from c.say("missing-tap", "warning", kind, unsure, text, "state Ratio, Symmetrical, Ideal or Tabular")
        outside = moved & ((t["tap_pos"] < t["tap_min"]) | (t["tap_pos"] > t["tap_max"]))
        yield from c.say("tap-range", "error", kind, outside, "tap_pos is outside tap_min…tap_max", "correct the position")
        ordered = on & (t["tap_min"] > t["tap_max"])
        yield from c.say("tap-range", "error", kind, ordered, "tap_min is above tap_max", "exchange them")
        if kind == "trafo":
            levels = c.kv("trafo", "hv_bus") > 60.0
            none = on & levels & ~np.isfinite(t["tap_pos"])
            yield from c.say(
                "missing-tap", "info", kind, none, "a transformer from high voltage without taps", "state its tap changer"
            )


def _connections(c: _Check) -> Iterator[GridFinding]:
    """Buses that hang in the air, parts without a source and how they could get one."""
    now, n = c.topology.now, c.model.n_bus
    if not n or (not np.any(c.on("source")) and not np.any(c.on("gen") & c.t["gen"]["slack"])):
        yield GridFinding(
            "no-source", "error", "network", (), "nothing feeds the network", "add a source (external grid) in service"
        )
        return
    degree = np.zeros(n, np.int64)
    for kind in ("line", "trafo", "trafo3w", "impedance", "switch", "source", "xward"):
        for end in _ENDS[kind]:
            at = c.at[kind, end]
            degree += np.bincount(at[at >= 0], minlength=n)
    position = c.model.position()
    at = np.array([position.get(int(e), -1) for e in c.t["switch"]["element"]], np.int64)[c.t["switch"]["et"] == "b"]
    degree += np.bincount(at[at >= 0], minlength=n)
    alone = c.on("bus") & (degree == 0)
    yield from c.say("dangling-bus", "error", "bus", alone, "nothing connects it", "connect it, or take it out of service")
    for island in range(1, int(now.island.max(initial=0)) + 1):
        members = (now.island == island) & ~alone
        if not members.any():
            continue
        ids = tuple(c.t["bus"]["id"][members].tolist())
        yield GridFinding("no-supply", "warning", "bus", ids, "they have no source", _how_to_supply(c, members))
    for kind in ("load", "sgen", "storage", "gen"):
        at = c.at[kind, "bus"]
        dead = c.on(kind) & (at >= 0) & ~now.energised[np.maximum(at, 0)]
        yield from c.say("at-dead-bus", "warning", kind, dead, "its bus has no supply: it counts as nothing", "supply the bus")


def _how_to_supply(c: _Check, members: BoolArray) -> str:
    """Which open switch or element out of service would supply a part of the network, tried one by one."""
    t, ways = c.t, []
    for row in np.flatnonzero(~t["switch"]["closed"]):
        operation = Operation("switch", int(t["switch"]["id"][row]), True)
        if np.any(members[c.topology.preview(operation).won]):
            ways.append(f"close switch {operation.id}")
    for kind in ("line", "trafo", "impedance"):
        for row in np.flatnonzero(~c.on(kind)):
            operation = Operation(kind, int(t[kind]["id"][row]), True)
            if np.any(members[c.topology.preview(operation).won]):
                ways.append(f"put {kind} {operation.id} in service")
        if len(ways) > 3:
            break
    return " or ".join(ways[:3]) or "connect them, or take them out of service"


def _powers(c: _Check) -> Iterator[GridFinding]:
    """Ratings and powers that contradict one another."""
    t, on = c.t["storage"], c.on("storage")
    yield from c.say(
        "missing-value",
        "warning",
        "storage",
        on & ~(t["e_max_mwh"] > np.nan_to_num(t["e_min_mwh"])),
        "it has no capacity",
        "state e_max_mwh",
    )
    outside = on & ((t["soc"] < 0) | (t["soc"] > 1))
    yield from c.say(
        "impossible-value", "error", "storage", outside, "the state of charge is outside 0…1", "state it as a fraction"
    )
    t, on = c.t["load"], c.on("load")
    yield from c.say("sign", "warning", "load", on & (t["p_mw"] > 0), "a load that injects", "is its sign meant so?")
    for kind in ("source", "gen"):
        odd = c.on(kind) & ((c.t[kind]["vm_pu"] < 0.8) | (c.t[kind]["vm_pu"] > 1.2))
        yield from c.say("odd-voltage", "warning", kind, odd, "vm_pu is far from 1", "state it in per unit")


RULES: Final[tuple[Callable[[_Check], Iterator[GridFinding]], ...]] = (
    _references, _numbers, _impedances, _levels, _taps, _connections, _powers,
)  # fmt: skip
