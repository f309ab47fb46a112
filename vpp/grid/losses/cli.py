"""``vpp grid losses``: where a network loses power, and what it could save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpp.grid.tell import balanced, is_threephase

if TYPE_CHECKING:
    from vpp.grid.losses.problem import Breach
    from vpp.grid.network import Network


def losses(
    spec: Annotated[
        str, typer.Argument(metavar="NETWORK", show_default=False, help="simbench:<code>, pandapower:<name>, or a file.")
    ],
    reconfigured: Annotated[
        bool, typer.Option("--reconfigure", help="Also look for better open points (radial networks).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say where a network loses power at its stated loads, and what voltage control or other open points would save.

    Of a three-phase network (.dss) the losses alone.
    """
    import json

    from rich.console import Console
    from rich.text import Text

    found = study(spec, reconfigured)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    console = Console()
    for name, text in _told(found):
        console.print(Text.assemble((f"{name:14}", "cyan"), text), soft_wrap=True)


def study(spec: str, reconfigured: bool) -> dict[str, Any]:
    """What the command says, as plain values; powers in kW and kvar.

    Raises:
        NetworkError: there is no such network, or it is to be reconfigured and is not radial.
        Diverged: its power flow has no solution at the stated loads.
    """
    if is_threephase(spec):
        from vpp.grid.threephase.cli import losses as losses_of_phases

        return losses_of_phases(balanced(spec, "losses --reconfigure") if reconfigured else spec)
    from vpp.grid import load_network
    from vpp.grid.losses import Devices, reconfigure, volt_var
    from vpp.grid.powerflow import check_first_solve, choose

    network = load_network(balanced(spec, "losses"))
    p, q = network.rated_injections()
    v = check_first_solve(choose(network)[0], network, p, q).v
    out: dict[str, Any] = {"network": network.name, "losses_kw": by_kind(network, v)}
    devices = Devices.of(network)
    own = network.scatter(devices.bus, devices.q_mvar)
    best = volt_var(network, p, q - own, devices)
    out["volt_var"] = {
        "loss_kw": best.loss_mw * 1e3,
        "saved_kw": (best.before_mw - best.loss_mw) * 1e3,
        "inverters": len(devices.bus),
        "q_kvar": float(best.q_mvar.sum()) * 1e3,
        "taps": _steps(network, network.taps.branch.tolist(), network.taps.pos.tolist(), best.network.taps.pos.tolist()),
        "shunts": [
            {"name": n or f"shunt {i}", "from": a, "to": b}
            for n, i, a, b in zip(
                network.shunts.name, network.shunts.id.tolist(), network.shunts.step.tolist(), best.network.shunts.step.tolist()
            )
            if a != b
        ],
        "breaches": [_breach(network, b) for b in best.breaches],
        "breaches_before": [_breach(network, b) for b in best.breaches_before],
    }
    if reconfigured:
        change = reconfigure(network, p, q)
        out["reconfiguration"] = {
            "loss_kw": change.loss_mw * 1e3,
            "saved_kw": (change.before_mw - change.loss_mw) * 1e3,
            "open": [_title(change.network, b) for b in change.to_open],
            "close": [_title(change.network, b) for b in change.to_close],
            "breaches": [_breach(change.network, b) for b in change.breaches],
        }
    return out


def by_kind(network: Network, v: Any) -> dict[str, float]:
    """Losses of the branches by kind and in all, kW."""
    import numpy as np

    from vpp.grid.network import BRANCH_KINDS

    flows = network.branch_flows(v)
    sums = np.bincount(network.branch_kind, flows.p_loss_mw, len(BRANCH_KINDS)) * 1e3
    there = np.bincount(network.branch_kind[network.branch_on], minlength=len(BRANCH_KINDS))
    kinds = {kind: float(kw) for kind, kw, count in zip(BRANCH_KINDS, sums, there) if count}
    return {**kinds, "total": flows.p_loss_total_mw * 1e3}


def _title(network: Network, branch: int) -> str:
    from vpp.grid.network import BRANCH_KINDS

    return network.branch_name[branch] or f"{BRANCH_KINDS[network.branch_kind[branch]]} {network.branch_id[branch]}"


def _steps(network: Network, branch: list[int], before: list[int], after: list[int]) -> list[dict[str, Any]]:
    """Tap changers that move."""
    return [{"name": _title(network, b), "from": x, "to": y} for b, x, y in zip(branch, before, after) if x != y]


def _breach(network: Network, breach: Breach) -> str:
    """A breach in words."""
    if breach.quantity == "loading":
        return f"{_title(network, breach.element)} at {breach.value:.1%} of its rated current"
    side = "under" if breach.quantity == "vm_low" else "over"
    name = network.bus_name[breach.element] or f"bus {network.bus_id[breach.element]}"
    return f"{name} at {breach.value:.4f} pu, {side} {breach.limit:g}"


def _told(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The study as (word, text)."""
    kw, best = found["losses_kw"], found.get("volt_var")
    kinds = ", ".join(f"{kind} {value:.4g}" for kind, value in kw.items() if kind != "total")
    lines = [("network", found["network"]), ("losses", f"{kw['total']:.4g} kW ({kinds})")]
    if best is None:
        return lines
    lines.append(
        ("volt/var", f"{best['loss_kw']:.4g} kW, {_saved(best, kw)}; {best['inverters']} inverters at {best['q_kvar']:.4g} kvar")
    )
    lines += [("", f"{step['name']}: step {step['from']} -> {step['to']}") for step in [*best["taps"], *best["shunts"]]]
    lines += _breaches(best["breaches"], len(best["breaches_before"]))
    change = found.get("reconfiguration")
    if change is not None:
        lines.append(("reconfigured", f"{change['loss_kw']:.4g} kW, {_saved(change, kw)}"))
        for word in ("open", "close"):
            if change[word]:
                lines.append(("", f"{word} {', '.join(change[word])}"))
        lines += _breaches(change["breaches"], len(best["breaches_before"]))
    return lines


def _saved(part: dict[str, Any], kw: dict[str, float]) -> str:
    """How much less, or more where limits had to be mended."""
    share = abs(part["saved_kw"]) / max(kw["total"], 1e-12)
    return f"{share:.1%} {'less' if part['saved_kw'] >= 0 else 'more, for the sake of limits'}"


def _breaches(texts: list[str], before: int, most: int = 5) -> list[tuple[str, str]]:
    """Limits that are not kept, the first few of them."""
    if not texts:
        return [("", f"every limit kept ({before} were not)")] if before else []
    more = [("", f"and {len(texts) - most} more")] if len(texts) > most else []
    return [("not kept", text) for text in texts[:most]] + more
