"""``vpp grid flow`` and ``vpp grid n1``: one power flow with its limits, and what every outage breaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from vpp.grid.tell import balanced, band_of, is_threephase, print_csv, print_table, records, split
from vpp.kernel.errors import NetworkError

Spec = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK", show_default=False,
        help="simbench:<code>, pandapower:<name>, or a file: our own or pandapower's JSON, MATPOWER .m or .mat, CGMES .zip or "
        "folder, OpenDSS .dss (three-phase).",
    ),
]  # fmt: skip
Band = Annotated[str, typer.Option("--vm", metavar="LOW:HIGH", help="Voltage band in pu. [dim]Default: the network's own.[/]")]
Rating = Annotated[
    str, typer.Option(metavar="FACTORS", help="Factors on rated currents (season): 0.9, or line=0.9,trafo=1.1,line:12=0.8.")
]
Emergency = Annotated[str, typer.Option(metavar="FACTORS", help="Factors on top of them while something is out.")]
Reverse = Annotated[float | None, typer.Option(help="Highest power in MW from a transformer's low to its high side.")]
Scale = Annotated[float, typer.Option(help="Factor on all injections.")]
Top = Annotated[int, typer.Option(min=0, help="Rows to show; 0 for all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as JSON, for programs.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="The table as CSV, all rows.")]


def flow(
    spec: Spec,
    vm: Band = "",
    rating: Rating = "",
    reverse: Reverse = None,
    unbalance: Annotated[float, typer.Option(min=0.0, help="Highest voltage unbalance, three-phase networks only.")] = 0.02,
    scale: Scale = 1.0,
    top: Top = 20,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Solve the power flow and show what breaks a limit, and what is nearest to one. Ends with 1 if a limit is broken.

    Of a three-phase network (.dss) the voltage of every phase, unbalance and currents.
    """
    import numpy as np

    from vpp.grid.contingency.analysis import element_title
    from vpp.grid.limits import QUANTITIES, check
    from vpp.grid.powerflow.choose import check_first_solve, choose

    if is_threephase(spec):
        from vpp.grid.threephase.cli import flow as flow_of_phases

        for option, given in (("--rating", rating), ("--reverse", reverse is not None)):
            if given:
                raise typer.BadParameter("is of balanced networks, this one is three-phase", param_hint=option)
        flow_of_phases(spec, band_of(vm) or (0.9, 1.1), unbalance, scale, top, as_csv, as_json)
        return
    network = _network(spec, "flow")
    limits = _limits(network, vm, rating, "", reverse)
    p, q = (scale * x for x in network.rated_injections())
    engine, reason = choose(network)
    v = check_first_solve(engine, network, p, q).v
    checks, loss = check(network, v, limits), network.branch_flows(v).p_loss_total_mw
    order = np.argsort(-checks.severity, kind="stable")
    rows = [
        (
            QUANTITIES[checks.quantity[k]], element_title(network, int(checks.quantity[k]), int(checks.element[k])),
            float(checks.value[k]), float(checks.limit[k]), float(checks.margin[k]), bool(checks.violated[k]),
        )
        for k in (order if as_csv or as_json or not top else order[:top]).tolist()
    ]  # fmt: skip
    head = ("quantity", "element", "value", "limit", "margin", "violated")
    broken = int(checks.violated.sum())
    if as_json:
        typer.echo(
            json.dumps({"engine": engine.name, "loss_mw": loss, "violations": broken, "limits": records(head, rows)}, indent=1)
        )
    elif as_csv:
        print_csv(head, rows)
    else:
        print_table(f"{network.name}: {reason}; losses {loss:.4g} MW", head, rows, red=lambda row: row[5])
        typer.echo(f"{broken} of {len(checks)} limits broken")
    if broken:
        raise typer.Exit(1)


def n1(
    spec: Spec,
    kinds: Annotated[
        str, typer.Option(help="What fails: kinds and elements, e.g. line,trafo:0.")
    ] = "line,trafo,trafo3w,impedance",
    pairs: Annotated[str, typer.Option(help="N-1-1: every pair out of this list, e.g. trafo,line:3,line:7.")] = "",
    vm: Band = "",
    rating: Rating = "",
    emergency: Emergency = "",
    reverse: Reverse = None,
    scale: Scale = 1.0,
    restore: Annotated[bool, typer.Option("--restore", help="Propose a tie to close for what is lost.")] = False,
    top: Top = 20,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Solve every outage and rank what it loses and breaks. Ends with 1 if one has no solution or breaks a limit."""
    from vpp.grid.contingency import analyse
    from vpp.grid.contingency.outages import Outages, outages_named
    from vpp.grid.contingency.outages import pairs as pairs_of

    network = _network(spec, "n1")
    limits = _limits(network, vm, rating, emergency, reverse)
    p, q = (scale * x for x in network.rated_injections())
    try:
        named = outages_named(network, split(pairs or kinds))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--pairs" if pairs else "--kinds") from error
    outages = pairs_of(network, named) if pairs else Outages.of(network, named)
    with _Bar(len(outages)) as bar:
        result = analyse(network, outages, p, q, limits, progress=bar)
    order = result.ranking()
    shown = order if as_csv or as_json or not top else order[:top]
    head, rows = _cases(result, shown.tolist(), (p, q, limits) if restore else None)
    if as_json:
        typer.echo(
            json.dumps({"network": network.name, "cases": records(head, rows), "violations": _violations(result)}, indent=1)
        )
    elif as_csv:
        print_csv(head, rows)
    else:
        print_table(
            f"{network.name}: {len(outages)} outages, the worst first",
            head,
            rows,
            red=lambda row: row[1] != "solved" or row[7] > 0,
        )
        _told(result, top)
    if not result.converged.all() or result.violations.caused.any():
        raise typer.Exit(1)


def _network(spec: str, command: str) -> Any:
    """The compiled network, energised; NetworkError where there is none."""
    from vpp.grid import load_network

    network = load_network(balanced(spec, command))
    if network.n_node == 0 or len(network.slack_node) == 0:
        raise NetworkError(spec, "has no energised source, so there is nothing to solve")
    return network


def _limits(network: Any, vm: str, rating: str, emergency: str, reverse: float | None) -> Any:
    """Limits as the options state them; BadParameter where they cannot be used."""
    from vpp.grid.limits import Limits

    low, high = band_of(vm) or (None, None)
    limits = Limits(low, high, _factors(network, rating, "--rating"), _factors(network, emergency, "--emergency"), reverse)
    try:
        limits.band(network), limits.loading(network, outage=True), limits.reverse(network)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return limits


def _factors(network: Any, text: str, option: str) -> Any:
    """Factors by branch from ``0.9`` or ``line=0.9,trafo:3=1.1``."""
    from vpp.grid.limits import factors

    default, given = 1.0, {}
    try:
        for part in split(text):
            key, equals, number = part.rpartition("=")
            if equals:
                given[key] = float(number)
            else:
                default = float(number)
        return factors(network, given, default)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from error


def _cases(result: Any, cases: Sequence[int], restoring: Any) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """One row for every case."""
    from vpp.grid.contingency import restore
    from vpp.grid.contingency.outages import branch_title

    head = (
        "outage",
        "state",
        "lost buses",
        "lost load MW",
        "lost generation MW",
        "max loading",
        "at",
        "violations",
        "min pu",
        "max pu",
    )
    extremes, lost = result.extremes, result.lost
    rows: list[tuple[Any, ...]] = []
    for k in cases:
        at = int(extremes.loading_branch[k])
        state = (result.islanding(k) or "solved") if result.converged[k] else "no solution"
        cut = int(lost.buses[k]), _rounded(lost.load_mw[k]), _rounded(lost.generation_mw[k])
        loading = _rounded(extremes.loading_max[k]), branch_title(result.network, at) if at >= 0 else ""
        band = _rounded(extremes.vm_min_pu[k]), _rounded(extremes.vm_max_pu[k])
        rows.append((result.outages.outages[k].name, state, *cut, *loading, int(extremes.violations[k]), *band))
        if restoring is not None:
            ways = restore(result.network, result.outages.outages[k].branches, *restoring) if lost.buses[k] else []
            best = ways[0] if ways else None
            how = "" if best is None else ("" if best.allowed else "breaks limits: ") + f"close {best.name}"
            rows[-1] = (*rows[-1], how)
    return ((*head, "restored by") if restoring is not None else head), rows


def _rounded(value: float) -> float | None:
    """A number for people and programs; None where there is none."""
    return round(float(value), 6) if value == value else None


def _violations(result: Any) -> list[dict[str, Any]]:
    """All violations as records."""
    from vpp.grid.contingency.analysis import element_title
    from vpp.grid.limits import QUANTITIES

    found = result.violations
    return [
        {
            "outage": result.outages.outages[found.case[k]].name, "quantity": QUANTITIES[found.quantity[k]],
            "element": element_title(result.network, int(found.quantity[k]), int(found.element[k])),
            "value": float(found.value[k]), "limit": float(found.limit[k]), "margin": float(found.margin[k]),
            "base": _rounded(found.base[k]), "caused": bool(caused),
        }
        for k, caused in enumerate(found.caused)
    ]  # fmt: skip


def _told(result: Any, top: int) -> None:
    """Counts, and the worst violations in words."""
    import numpy as np

    caused = np.flatnonzero(result.violations.caused)
    for k in caused[: top or len(caused)].tolist():
        typer.echo(f"  {result.describe(k)}")
    lost, parted = int((result.lost.buses > 0).sum()), int(result.outages.parted.sum())
    typer.echo(
        f"{len(result.outages)} outages: {int((~result.converged).sum())} without a solution, {lost} cut buses off, "
        f"{parted} leave islands; {len(caused)} violations caused; {int(result.base.violated.sum())} without any outage"
    )


class _Bar:
    """A progress bar on standard error, only where somebody looks."""

    def __init__(self, total: int) -> None:
        """Prepare it."""
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("outages", total=total)

    def __enter__(self) -> _Bar:
        """Show it."""
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take it away."""
        self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Move on."""
        self.bar.update(self.task, completed=done, total=total)
