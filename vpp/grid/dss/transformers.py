"""Transformers, transformer codes and regulator controls of a script."""

from __future__ import annotations

from typing import Any, cast

from vpp.grid.dss.script import DssObject, Script
from vpp.grid.dss.text import bus as read_bus
from vpp.grid.dss.units import Unusable, check_frequency, connection, phases_of, positive, terminal
from vpp.grid.threephase.feeder import Connection, Regulator, Transformer, Winding

_WINDING = {"kv": 12.47, "kva": 1000.0, "%r": 0.2, "tap": 1.0, "mintap": 0.9, "maxtap": 1.1, "numtaps": 32, "conn": "wye"}
_ARRAYS = {"kvs": "kv", "kvas": "kva", "taps": "tap", "%rs": "%r", "conns": "conn", "buses": "bus"}


def _apply(target: DssObject, sides: list[dict[str, Any]], script: Script) -> None:
    """Take the properties in their order; ``wdg`` chooses the winding that the following ones mean."""
    active = 0
    for prop in target.properties:
        if prop.name == "xfmrcode":
            code = script.objects.get(("xfmrcode", prop.value))
            if code is None:
                raise Unusable(target, f"there is no xfmrcode {prop.value}", "xfmrcode")
            _apply(code, sides, script)
        elif prop.name == "wdg":
            if prop.value not in (1, 2):
                raise Unusable(target, f"winding {prop.value} is outside the subset, two windings at most", "wdg")
            active = prop.value - 1
        elif prop.name == "windings" and prop.value != 2:
            raise Unusable(target, f"{prop.value} windings are outside the subset", "windings")
        elif prop.name in _ARRAYS:
            if len(prop.value) != 2:
                raise Unusable(target, f"{prop.name} has {len(prop.value)} entries for two windings", prop.name)
            for side, value in zip(sides, prop.value, strict=True):
                side[_ARRAYS[prop.name]] = read_bus(value) if prop.name == "buses" else value
        elif prop.name == "%loadloss":
            for side in sides:
                side["%r"] = prop.value / 2.0
        elif prop.name in _WINDING or prop.name == "bus":
            sides[active][prop.name] = prop.value
            if prop.name == "kva" and active == 0:
                sides[1]["kva"] = prop.value


def _value(target: DssObject, script: Script, names: tuple[str, ...], default: Any) -> Any:
    """Look a property up in the transformer, then in its code."""
    for name in names:
        if target.has(name):
            return target.get(name)
    code = script.objects.get(("xfmrcode", target.get("xfmrcode", "")))
    return _value(code, script, names, default) if code is not None else default


def read_transformer(target: DssObject, script: Script) -> Transformer:
    """Build one transformer."""
    sides: list[dict[str, Any]] = [dict(_WINDING), dict(_WINDING)]
    code = script.objects.get(("xfmrcode", target.get("xfmrcode", "")))
    if code is not None:
        check_frequency(code, script.f_hz)
    _apply(target, sides, script)
    phases = _value(target, script, ("phases",), 3)
    if phases not in (1, 2, 3):
        phases_of(target)
    windings = []
    for k, side in enumerate(sides):
        conn = connection(target, side["conn"])
        if conn == "delta" and phases == 2:
            raise Unusable(target, "a delta winding of two phases is outside the subset")
        wires = 2 if conn == "delta" and phases == 1 else phases
        nodes = terminal(target, f"bus of winding {k + 1}", side.get("bus"), wires, 1 if conn == "wye" else 0)
        for prop in ("kv", "kva", "tap"):
            positive(target, prop, side[prop])
        limits = (side["mintap"], side["maxtap"], int(side["numtaps"]))
        windings.append(Winding(cast("Connection", conn), nodes, side["kv"], side["%r"], side["tap"], *limits))
    shared = set(windings[0].nodes) & set(windings[1].nodes)
    if any(node[1] for node in shared):
        raise Unusable(target, "both windings stand at one node: an autotransformer is outside the subset")
    x = _value(target, script, ("xhl", "x12"), 7.0)
    if windings[0].r_percent + windings[1].r_percent == 0.0 and x == 0.0:
        raise Unusable(target, "its leakage impedance is zero")
    return Transformer(
        target.name,
        phases,
        (windings[0], windings[1]),
        sides[0]["kva"],
        x,
        _value(target, script, ("%noloadloss",), 0.0),
        _value(target, script, ("%imag",), 0.0),
        _value(target, script, ("ppm", "ppm_antifloat"), 1.0),
        _value(target, script, ("leadlag",), "lag") in ("lag", "ansi"),
    )


def read_regulator(target: DssObject, script: Script) -> Regulator:
    """Build one tap changer's control."""
    name = target.get("transformer", "")
    known = script.objects.get(("transformer", name))
    if known is None:
        raise Unusable(target, f"there is no transformer {name!r}", "transformer")
    winding = int(target.get("winding", 1))
    if winding not in (1, 2):
        raise Unusable(target, f"winding {winding} is outside the subset", "winding")
    return Regulator(
        target.name,
        name,
        winding - 1,
        float(target.get("vreg", 120.0)),
        float(target.get("band", 3.0)),
        positive(target, "ptratio", float(target.get("ptratio", 60.0))),
        positive(target, "ctprim", float(target.get("ctprim", 300.0))),
        float(target.get("r", 0.0)),
        float(target.get("x", 0.0)),
        float(target.get("delay", 15.0)),
        int(target.get("maxtapchange", 16)),
    )
