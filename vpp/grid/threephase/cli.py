"""What ``vpp grid`` says of a three-phase network: what it consists of, its power flow, its losses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from vpp.grid.tell import print_csv, print_table, records, with_scheme
from vpp.grid.threephase.network import BRANCH_KINDS, ThreePhaseNetwork
from vpp.grid.threephase.results import (
    PhaseFlows,
    branch_flows,
    current_limits,
    sequences,
    unbalance_limits,
    voltage_limits,
)
from vpp.grid.threephase.solver import CurrentInjection
from vpp.grid.threephase.store import load_threephase
from vpp.kernel.errors import Diverged

if TYPE_CHECKING:
    from vpp.grid.tables import ComplexArray

Row = tuple[Any, ...]


def described(network: ThreePhaseNetwork) -> list[tuple[str, str]]:
    """What `info` says, as (word, text)."""
    shown = network.node_bus >= 0
    kv = np.round(np.sqrt(3.0) * network.node_v_base * 1e-3, 4)
    per_bus = np.bincount(network.node_bus[shown], minlength=network.n_bus)
    first = np.array([kv[network.node_bus == bus][0] for bus in range(network.n_bus)])
    levels, counts = np.unique(first, return_counts=True)
    phases, widths = np.unique(per_bus, return_counts=True)
    kinds = np.bincount(network.branch_kind, minlength=len(BRANCH_KINDS))
    parts = [f"{n} {kind}" for kind, n in zip(BRANCH_KINDS, kinds.tolist(), strict=True) if n]
    feeder = network.feeder
    regulators = len(feeder.regulators) if feeder is not None else 0
    parts += [f"{len(network.load_name)} load", *([f"{regulators} regulator"] if regulators else [])]
    p, q = (x.sum() for x in network.rated_injections())
    on = int((network.node_on & shown).sum())
    return [
        ("name", network.name),
        ("base", f"three-phase, {network.f_hz:g} Hz"),
        ("buses", f"{network.n_bus} ({', '.join(f'{n} at {v:g} kV' for v, n in zip(levels, counts, strict=True))})"),
        ("nodes", f"{int(shown.sum())} ({', '.join(f'{n} buses of {k}' for k, n in zip(phases, widths, strict=True))})"),
        ("elements", ", ".join(parts)),
        ("load", f"{p:.4g} MW, {q:.4g} Mvar injected"),
        ("connected", f"{on} nodes energised, {int(shown.sum()) - on} without supply"),
        ("power flow", "three-phase: current injections in phase coordinates"),
        *(("note", note) for note in network.notes),
    ]


def flow(
    spec: str, band: tuple[float, float], unbalance: float, scale: float, top: int, as_csv: bool, as_json: bool
) -> None:  # fmt: skip
    """Solve it and show the voltage of every phase, unbalance, and what breaks a limit; ends with 1 if one is broken."""
    network, v = solved(spec, scale)
    flows = branch_flows(network, v)
    nodes, parts = _nodes(network, v, band), _unbalance(network, v, unbalance)
    limits = _limits(network, v, flows, band, unbalance)
    broken = [row for row in limits if row[5]]
    heads = ("node", "v", "vm_pu", "va_degree", "violated"), ("bus", "v1_pu", "v2_pu", "v0_pu", "unbalance", "violated")
    head = ("quantity", "element", "value", "limit", "margin", "violated")
    if as_json:
        told = {"engine": CurrentInjection.name, "loss_mw": flows.p_loss_total_mw, "violations": len(broken)}
        tables = {"nodes": records(heads[0], nodes), "unbalance": records(heads[1], parts), "limits": records(head, limits)}
        typer.echo(json.dumps({**told, **tables}, indent=1))
    elif as_csv:
        print_csv(heads[0], nodes)
    else:
        many = top or len(nodes)
        print_table(
            f"{network.name}: three-phase; losses {flows.p_loss_total_mw * 1e3:.4g} kW", heads[0], nodes[:many], lambda r: r[4]
        )
        print_table("unbalance of the three-phase buses, the worst first", heads[1], parts[:many], lambda r: r[5])
        if broken:
            print_table("broken limits", head, broken[:many], lambda r: True)
        typer.echo(f"{len(broken)} of {len(limits)} limits broken; {len(nodes)} nodes, {len(parts)} three-phase buses")
    if broken:
        raise typer.Exit(1)


def losses(spec: str) -> dict[str, Any]:
    """Losses at the stated loads as plain values, kW by kind of element."""
    network, v = solved(spec, 1.0)
    flows = branch_flows(network, v)
    sums = np.bincount(network.branch_kind, flows.p_loss_mw, len(BRANCH_KINDS)) * 1e3
    there = np.bincount(network.branch_kind, minlength=len(BRANCH_KINDS))
    kinds = {k: float(kw) for k, kw, n in zip(BRANCH_KINDS, sums, there, strict=True) if n and k != "source"}
    return {"network": network.name, "losses_kw": {**kinds, "total": flows.p_loss_total_mw * 1e3}}


def solved(spec: str, scale: float) -> tuple[ThreePhaseNetwork, ComplexArray]:
    """The network and its voltages (n_node,) in pu, loads times ``scale``; Diverged where there is no solution."""
    network = load_threephase(with_scheme(spec))
    p, q = network.rated_injections()
    solution = CurrentInjection(network).solve(scale * p, scale * q)
    if not solution.converged:
        raise Diverged(network.name, f"the three-phase power flow does not converge at {scale * p.sum():.4g} MW injected")
    return network, solution.v


def _nodes(network: ThreePhaseNetwork, v: ComplexArray, band: tuple[float, float]) -> list[Row]:
    """Every connected phase: name, volts, pu, degrees, whether it is outside the band; the nearest to its limits first."""
    low, high = voltage_limits(network, v, *band)
    order = np.argsort(np.minimum(low.margin, high.margin), kind="stable")
    vm, va = np.abs(v), np.degrees(np.angle(v))
    return [
        (
            network.node_name(k), float(vm[k] * network.node_v_base[k]), float(vm[k]), float(va[k]),
            bool(low.margin[i] < 0.0 or high.margin[i] < 0.0),
        )
        for i, k in zip(order.tolist(), low.where[order].tolist(), strict=True)
    ]  # fmt: skip


def _unbalance(network: ThreePhaseNetwork, v: ComplexArray, limit: float) -> list[Row]:
    """Every connected three-phase bus: name, symmetrical components, |V2| / |V1|, whether it is too much; the worst first."""
    found, (buses, parts) = unbalance_limits(network, v, limit), sequences(network, v)
    live = np.flatnonzero(np.abs(parts[:, 1]) > 0.0)
    order = live[np.argsort(-found.value[live], kind="stable")]
    size = np.abs(parts)
    return [
        (
            network.bus_name[buses[i]], float(size[i, 1]), float(size[i, 2]), float(size[i, 0]), float(found.value[i]),
            bool(found.margin[i] < 0.0),
        )
        for i in order.tolist()
    ]  # fmt: skip


def _limits(
    network: ThreePhaseNetwork, v: ComplexArray, flows: PhaseFlows, band: tuple[float, float], unbalance: float
) -> list[Row]:
    """Every limit as (quantity, element, value, limit, margin, violated), the smallest margin in parts of its limit first."""
    low, high = voltage_limits(network, v, *band)
    even, current = unbalance_limits(network, v, unbalance), current_limits(network, flows)
    of_conductor = np.repeat(np.arange(network.n_branch), np.diff(network.branch_start))

    def conductor(c: int) -> str:
        branch, phase = int(of_conductor[c]), network.node_phase[network.conductor_node[c]]
        return f"{BRANCH_KINDS[network.branch_kind[branch]]} {network.branch_name[branch]}.{phase}"

    out: list[Row] = []
    for quantity, found, name in (
        ("vm_low", low, network.node_name),
        ("vm_high", high, network.node_name),
        ("unbalance", even, lambda b: network.bus_name[b]),
        ("i_ka", current, conductor),
    ):
        values = zip(found.where.tolist(), found.value.tolist(), found.limit.tolist(), found.margin.tolist(), strict=True)
        out += [(quantity, name(at), value, limit, left, left < 0.0) for at, value, limit, left in values if value == value]
    return sorted(out, key=lambda row: row[4] / row[3] if row[3] else row[4])
