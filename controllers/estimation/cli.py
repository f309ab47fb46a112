"""``vpp grid estimate``: the state of a network from a table of measurements."""

from __future__ import annotations

import cmath
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vpp.grid.tell import is_threephase, with_scheme

if TYPE_CHECKING:
    from controllers.estimation.estimator import Estimate
    from controllers.estimation.measured import Meters
    from vpp.grid.network import Network

NOT_KNOWN: Final = 1
Spec = Annotated[
    str,
    typer.Argument(metavar="NETWORK", show_default=False, help="simbench:<code>, pandapower:<name>, or a file, .dss as well."),
]
Csv = Annotated[
    Path,
    typer.Option(
        "--meters", metavar="FILE.csv", show_default=False,
        help="Columns quantity (vm_pu, va_degree, p_mw, q_mvar, i_ka), element ('bus 5', 'line 3 from'; of a three-phase "
        "network 'bus 671.3', 'line 632_671.1 from'), value, sigma.",
    ),
]  # fmt: skip


def estimate(
    spec: Spec, meters: Csv, as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False
) -> None:
    """Estimate voltages from measurements; ends with 1 if something is not known or does not fit."""
    told = _of_phases(spec, meters) if is_threephase(spec) else _of_balanced(spec, meters)
    if as_json:
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        _print(told)
    if told["suspects"] or told["doubted"] or told["wanted"] or not told["converged"]:
        raise typer.Exit(NOT_KNOWN)


def _of_balanced(spec: str, meters: Path) -> dict[str, Any]:
    """The estimate of a balanced network."""
    from controllers.estimation.estimator import StateEstimator
    from controllers.estimation.measured import Grid
    from controllers.estimation.table import Places, read_measurements
    from vpp.grid import load_network

    network = load_network(with_scheme(spec))
    grid = Grid.of_network(network)
    measured = read_measurements(meters, Places.of_network(network, grid), grid)
    return described(network, measured.meters, StateEstimator(grid, measured.meters).estimate(measured.z))


def _of_phases(spec: str, meters: Path) -> dict[str, Any]:
    """The estimate of a three-phase network."""
    import numpy as np

    from controllers.estimation.estimator import StateEstimator
    from controllers.estimation.measured import Grid
    from controllers.estimation.table import Places, read_measurements
    from vpp.grid.threephase import load_threephase

    network = load_threephase(with_scheme(spec))
    grid = Grid.of_threephase(network)
    places = Places.of_threephase(network, grid)
    measured = read_measurements(meters, places, grid)
    found = StateEstimator(grid, measured.meters).estimate(measured.z)
    name = list(places.branch)
    return {
        **_quality(measured.meters, found),
        "buses": [
            {"id": None, "name": grid.node_name[k], **_voltage(found, k)}
            for k in range(grid.n) if not grid.node_name[k].startswith("(source)")
        ],
        "branches": [
            {"name": name[b], "i_ka": _plain(found.i_ka[b].max()), "sigma_ka": _plain(found.i_sigma_ka[b].max()), "loading": None}
            for b in np.flatnonzero(grid.branch_row[:, 0] >= 0).tolist()
        ],
    }  # fmt: skip


def described(network: Network, meters: Meters, found: Estimate) -> dict[str, Any]:
    """An estimate as plain values: buses, branches, suspects, doubted branches, what is not known and what is wanted."""
    import numpy as np

    limit = np.stack([network.branch_i_max_from_ka, network.branch_i_max_to_ka], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        loading = np.fmax.reduce(found.i_ka / limit, axis=1)
    name = found.branch_name
    return {
        **_quality(meters, found),
        "buses": [
            {"id": int(network.bus_id[b]), "name": network.bus_name[b], **_voltage(found, k)}
            for b, k in enumerate(network.node_of_bus.tolist()) if k >= 0
        ],
        "branches": [
            {"name": name[b], "i_ka": _plain(found.i_ka[b].max()), "sigma_ka": _plain(found.i_sigma_ka[b].max()),
             "loading": _plain(loading[b])}
            for b in np.flatnonzero(network.branch_on).tolist()
        ],
    }  # fmt: skip


def _voltage(found: Estimate, node: int) -> dict[str, float | None]:
    """The voltage of one node."""
    v = complex(found.v[node])
    return {
        "vm_pu": _plain(abs(v)), "sigma_pu": _plain(found.vm_sigma_pu[node]), "va_degree": _plain(math.degrees(cmath.phase(v)))
    }  # fmt: skip


def _quality(meters: Meters, found: Estimate) -> dict[str, Any]:
    """How good an estimate is: suspects, doubted branches, what is not known and what is wanted."""
    import numpy as np

    name = found.branch_name
    return {
        "converged": found.converged,
        "chi_square": _plain(found.chi_square),
        "freedom": found.freedom,
        "suspects": [
            {"measurement": meters.id[s.measurement], "normalised": s.normalised,
             "or": [meters.id[k] for k in s.group if k != s.measurement]}
            for s in found.suspects
        ],
        "doubted": [
            {"branch": name[d.branch], "believed": "closed" if d.believed_closed else "open",
             "or": [name[k] for k in d.group[1:]]}
            for d in found.doubted
        ],
        "critical": [meters.id[k] for k in np.flatnonzero(found.critical).tolist()],
        "wanted": list(found.wanted),
    }  # fmt: skip


def _plain(value: float) -> float | None:
    """A number, or None where it is not known."""
    return float(value) if value == value else None


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("bus", "name", "V [pu]", "sigma", "angle [°]", box=None, header_style="bold")
    for bus in told["buses"]:
        values = (bus["vm_pu"], bus["sigma_pu"], bus["va_degree"])
        known = [f"{x:.{d}f}" if x is not None else "-" for x, d in zip(values, (5, 5, 3), strict=True)]
        table.add_row("" if bus["id"] is None else str(bus["id"]), bus["name"], *known)
    console.print(table)
    if told["chi_square"] is not None:
        console.print(f"sum of squared residuals {told['chi_square']:.1f}, {told['freedom']} on average")
    for s in told["suspects"]:
        also = f"; or {', '.join(s['or'])}" if s["or"] else ""
        console.print(Text.assemble(("suspect ", "bold red"), f"{s['measurement']} ({s['normalised']:.1f} sigma){also}"))
    for d in told["doubted"]:
        also = f"; or {', '.join(d['or'])}" if d["or"] else ""
        console.print(Text.assemble(("doubted ", "bold red"), f"{d['branch']} is believed {d['believed']}{also}"))
    if told["critical"]:
        console.print(Text.assemble(("critical ", "yellow"), f"errors cannot show in {', '.join(told['critical'])}"))
    for line in told["wanted"]:
        console.print(Text.assemble(("wanted ", "yellow"), line))
