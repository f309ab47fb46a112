"""OpenDSS by its own engine: what it says of a script, with controls off."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import opendssdirect as dss

from tests.cases import ROOT

FEEDERS = ("ieee13", "ieee34", "ieee123", "european_lv")


class Oracle(NamedTuple):
    """Results by name."""

    v: dict[str, complex]  # V, by bus.phase
    pu: dict[str, float]
    i: dict[str, np.ndarray]  # A, by Class.name, into the element, grounded conductors left out
    loss_w: float


def path(case: str) -> Path:
    """Script of a case."""
    return ROOT / case / "feeder.dss"


def run(*commands: str) -> None:
    """Give commands; an error of OpenDSS's is an exception."""
    dss.Basic.AllowChangeDir(False)
    for command in commands:
        if command.startswith("compile"):
            dss.Text.Command("clear")
        dss.Text.Command(command)


def complexes(values: list[float]) -> np.ndarray:
    """Pairs of real and imaginary parts as complex numbers."""
    flat = np.array(values)
    return flat[::2] + 1j * flat[1::2]


def solve(*commands: str) -> Oracle:
    """Run commands, solve tightly with controls off, and read everything."""
    run(*commands, "set controlmode=off", "set tolerance=1e-10", "set maxiterations=500", "solve")
    assert dss.Solution.Converged()
    names = dss.Circuit.AllNodeNames()
    currents = {}
    for name in dss.Circuit.AllElementNames():
        if name.split(".")[0].lower() in ("line", "transformer"):
            dss.Circuit.SetActiveElement(name)
            live = np.array(dss.CktElement.NodeOrder()) > 0
            currents[name.lower()] = complexes(dss.CktElement.Currents())[live]
    v = complexes(dss.Circuit.AllBusVolts())
    pu = dict(zip(names, dss.Circuit.AllBusMagPu()))
    return Oracle(dict(zip(names, v)), pu, currents, float(dss.Circuit.Losses()[0]))


def solve_case(case: str) -> Oracle:
    """Run a case's script."""
    return solve(f"compile [{path(case)}]")


def primitive(element: str, *commands: str) -> tuple[list[str], np.ndarray]:
    """Primitive matrix of one element, and its conductors as bus.phase; grounded ones left out."""
    run("clear", "set defaultbasefrequency=50", "new circuit.c basekv=11 bus1=a", *commands, "solve")
    dss.Circuit.SetActiveElement(element)
    order = dss.CktElement.NodeOrder()
    k = len(order)
    y = complexes(dss.CktElement.YPrim()).reshape(k, k)
    buses = [bus.split(".")[0] for bus in dss.CktElement.BusNames()]
    each = k // dss.CktElement.NumTerminals()
    names = [f"{buses[j // each]}.{node}" for j, node in enumerate(order)]
    live = [j for j, node in enumerate(order) if node > 0]
    return [names[j] for j in live], y[np.ix_(live, live)]
