"""``vpp grid``: what a network is, what is wrong with it, its power flow and outages, and writing it in another form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vpp.grid.contingency.cli import Spec, flow, n1
from vpp.grid.losses.cli import losses
from vpp.grid.tell import balanced, is_threephase, with_scheme

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Look at a network, validate it, solve it, convert it.")
app.command()(flow)
app.command()(n1)

WRONG: Final = 1


class Form(StrEnum):
    """Forms that a network can be written in."""

    vpp = "vpp"
    pandapower = "pandapower"


def _load(spec: str) -> tuple[Any, Any, str]:
    """The elements of a balanced network, compiled (None where it cannot be), and why it cannot be.

    Raises:
        NetworkError: there is no such network, or it cannot be read.
    """
    from vpp.grid.compile import compile_network
    from vpp.grid.model import NetworkModel
    from vpp.grid.source import digest, load_source, resolve
    from vpp.kernel.errors import NetworkError

    source = resolve(with_scheme(spec))
    net, notes = load_source(source, shown=spec)
    model = NetworkModel.of_pandapower(net, notes)
    try:
        return model, compile_network(net, source, digest(source), notes), ""
    except NetworkError as error:
        return model, None, error.reason


@app.command()
def info(spec: Spec) -> None:
    """Say what a network consists of and how it is connected."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for name, text in _described_phases(spec) if is_threephase(spec) else _described(*_load(spec)):
        console.print(Text.assemble((f"{name:12}", "cyan"), text), soft_wrap=True)


def _described_phases(spec: str) -> list[tuple[str, str]]:
    """What `info` says of a three-phase network."""
    from vpp.grid.threephase.cli import described
    from vpp.grid.threephase.store import load_threephase

    return described(load_threephase(with_scheme(spec)))


def _described(model: Any, network: Any, reason: str) -> list[tuple[str, str]]:
    """What `info` says, as (word, text)."""
    import numpy as np

    from vpp.grid.powerflow import choose
    from vpp.grid.topology import Topology

    now = Topology(model).now
    lines = [("name", model.name or "-"), ("base", f"{model.sn_mva:g} MVA, {model.f_hz:g} Hz")]
    levels, counts = np.unique(model.tables["bus"]["vn_kv"], return_counts=True)
    lines.append(("buses", f"{model.n_bus} ({', '.join(f'{c} at {v:g} kV' for v, c in zip(levels, counts))})"))
    elements = {kind: len(table["id"]) for kind, table in model.tables.items() if kind != "bus" and len(table["id"])}
    lines.append(("elements", ", ".join(f"{count} {kind}" for kind, count in elements.items())))
    for kind in ("load", "sgen", "storage"):
        table = model.tables[kind]
        on = table["in_service"].astype(bool)
        if on.any():
            p, q = ((table[name] * table["scaling"])[on].sum() for name in ("p_mw", "q_mvar"))
            lines.append((kind, f"{p:.4g} MW, {q:.4g} Mvar injected"))
    islands = int(now.island.max(initial=0))
    parts = [f"{int(now.energised.sum())} buses energised", f"{int(now.islanded.sum())} without supply in {islands} parts"]
    lines.append(("connected", ", ".join([*parts, f"{int(now.looped.sum())} on circles", f"{len(now.feeder_edge)} feeders"])))
    lines.append(
        ("power flow", choose(network)[1] if network is not None and network.n_node else reason or "nothing is energised")
    )
    return [*lines, *(("note", note) for note in model.notes)]


@app.command()
def validate(
    spec: Spec,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON, for programs.")] = False,
) -> None:
    """Say everything that is wrong with a network, and how to mend it. Ends with 1 if there is an error."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.text import Text

    findings = _findings_of_phases(spec) if is_threephase(spec) else _findings(spec)
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in findings], indent=1, ensure_ascii=False))
    else:
        console = Console()
        for f in findings:
            colour = {"error": "bold red", "warning": "yellow", "info": "dim"}[f.level]
            console.print(Text.assemble((f"{f.level:8}", colour), str(f).partition(": ")[2]), soft_wrap=True)
        counts = [f"{sum(f.level == level for f in findings)} {level}" for level in ("error", "warning", "info")]
        console.print(Text(", ".join(counts), "bold"))
    if any(f.level == "error" for f in findings):
        raise typer.Exit(WRONG)


def _findings(spec: str) -> list[Any]:
    """What is wrong with a balanced network."""
    from vpp.grid.validate import GridFinding, validate

    model, network, reason = _load(spec)
    findings = validate(model, network)
    if network is None:
        findings.insert(0, GridFinding("not-compiled", "error", "network", (), reason, "see the other findings"))
    return findings


def _findings_of_phases(spec: str) -> list[Any]:
    """What is wrong with a three-phase network, or with the script that should be one."""
    from vpp.grid.threephase.store import load_threephase, script_of
    from vpp.grid.threephase.validate import unreadable, validate
    from vpp.kernel.errors import NetworkError

    resolved = script_of(with_scheme(spec))  # that there is none is no finding
    try:
        return list(validate(load_threephase(f"dss:{resolved}")))
    except NetworkError as error:
        return list(unreadable(error))


@app.command()
def convert(
    spec: Spec,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="What to write, a .json file.", show_default=False)],
    to: Annotated[Form, typer.Option(help="Our own format (with an .npz file beside), or pandapower's.")] = Form.vpp,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write a network in our own format or in pandapower's."""
    from vpp.grid.format import save_network
    from vpp.grid.model import NetworkModel
    from vpp.grid.source import load_source, quiet, resolve
    from vpp.kernel.errors import NetworkError

    if out.suffix != ".json":
        raise NetworkError(str(out), "is to be written, but its suffix is not .json")
    files = [out, out.with_suffix(".npz")] if to is Form.vpp else [out]
    if not force and (there := [file for file in files if file.exists()]):
        raise NetworkError(str(there[0]), "is there already; --force replaces it")
    net, notes = load_source(resolve(balanced(spec, "convert")), shown=spec)
    model = NetworkModel.of_pandapower(net, notes)
    if model.unsupported:
        left = ", ".join(f"{count} {kind}" for kind, count in model.unsupported.items())
        raise NetworkError(spec, f"has elements that cannot be converted: {left}")
    try:
        if to is Form.vpp:
            save_network(model, out)
        else:
            import pandapower

            with quiet():
                pandapower.to_json(model.to_pandapower(), str(out))
    except OSError as error:
        raise NetworkError(str(out), f"cannot be written: {error.strerror}") from error
    for file in files:
        typer.echo(file)


app.command("losses")(losses)
