"""Decision parity of two runs: a certificate that every setpoint of every tick is the same to the bit, or where they part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from vpp.historian.journal import Journal
from vpp.historian.read import open_run, read_manifest
from vpp.kernel.errors import RunError
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.time import iso

DECISIONS: Final = "decisions"  # folder of the decision log in a run directory


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing two decision logs gave.

    Attributes:
        ticks: ticks that are equal, from the first on.
        resources: columns.
        sha: digest of each log.
        step: first tick that differs; -1: none.
        time_ns: its time.
        signal, ids: first signal that differs there, and the resources; "" where the logs differ in length or causes.
        a, b: the values.
        reason: why there is no certificate, "" where there is one.
    """

    ticks: int
    resources: int
    sha: tuple[str, str]
    step: int = -1
    time_ns: int = 0
    signal: str = ""
    ids: tuple[str, ...] = ()
    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether there is a certificate."""
        return not self.reason


def compare(run_a: Path, run_b: Path) -> Verdict:
    """Compare the decision logs of two runs, tick by tick. Raises `RunError` where one has none."""
    a, b = Journal(run_a / DECISIONS), Journal(run_b / DECISIONS)
    ids = _ids(run_a)
    if ids != _ids(run_b):
        return Verdict(0, len(ids), ("", ""), reason="the runs have not the same resources")
    digests = hashlib.sha256(), hashlib.sha256()
    for k in range(min(a.rows, b.rows)):
        one, other = a.read(k), b.read(k)
        for digest, row in zip(digests, (one, other)):
            for name in sorted(row):
                digest.update(row[name].tobytes())
        different = next(
            (name for name in ("time_ns", "asked", "cause_p", "cause_q") if _bytes(one, name) != _bytes(other, name)), ""
        )
        if different:
            return _parted(k, one, other, different, ids)
    sha = digests[0].hexdigest(), digests[1].hexdigest()
    if a.rows != b.rows:
        return Verdict(min(a.rows, b.rows), len(ids), sha, reason=f"A has {a.rows} ticks, B has {b.rows}")
    if a.rows == 0:
        return Verdict(0, len(ids), sha, reason="nothing was decided")
    return Verdict(a.rows, len(ids), sha)


def _bytes(row: dict[str, np.ndarray], name: str) -> bytes:
    return bytes(row[name].tobytes())


def _parted(k: int, one: dict[str, np.ndarray], other: dict[str, np.ndarray], name: str, ids: tuple[str, ...]) -> Verdict:
    time_ns, n = int(one["time_ns"]), len(ids)
    if name == "time_ns":
        times = f"{iso(time_ns)} in A, {iso(int(other['time_ns']))} in B"
        return Verdict(k, n, ("", ""), k, time_ns, "time", (), (), (), f"tick {k} is at {times}")
    x, y = np.atleast_2d(one[name]), np.atleast_2d(other[name])
    unequal = x.view(f"V{x.itemsize}").reshape(x.shape) != y.view(f"V{y.itemsize}").reshape(y.shape)
    row = int(np.flatnonzero(unequal.any(axis=1))[0])
    signal = Setpoints.names[row] if name == "asked" else name
    at = np.flatnonzero(unequal[row])
    shown = at[:5]
    where = ", ".join(ids[i] for i in shown) + (f" and {len(at) - 5} more" if len(at) > 5 else "")
    return Verdict(
        k, n, ("", ""), k, time_ns, signal, tuple(ids[i] for i in shown), tuple(map(float, x[row, shown])),
        tuple(map(float, y[row, shown])), f"first at tick {k}, {iso(time_ns)}: {signal} of {where}",
    )  # fmt: skip


def _ids(run: Path) -> tuple[str, ...]:
    return tuple(str(name) for name in open_run(run)["resources"].coords["resource"].values)


RunPath = Annotated[Path, typer.Argument(help="Run directory with a decision log.", show_default=False)]


def verify(run_a: RunPath, run_b: RunPath) -> None:
    """Certify that two runs decided the same, to the bit, or name the first tick and signal in which they part.

    Ends with 0 when they decided the same, with 1 when they did not, with 2 when one cannot be read.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console()
    manifests = read_manifest(run_a), read_manifest(run_b)
    for letter, path, manifest in zip("AB", (run_a, run_b), manifests):
        wiring = str(manifest.get("wiring", "in process"))
        console.print(Text.assemble((letter, "bold"), f"  {path}  ", (f"wiring {wiring}", "cyan")), soft_wrap=True)
    for run in (run_a, run_b):
        if not (run / DECISIONS).is_dir():
            raise RunError(str(run), "has no decision log; `vpp hil parity` and `vpp hil run` keep one")
    found = compare(run_a, run_b)
    console.print()
    if found.equal:
        size = f"{found.ticks} ticks × {found.resources} resources × {len(Setpoints.signals)} signals, with their causes"
        console.print(Text(f"the same decisions, to the bit: {size}", "bold green"), soft_wrap=True)
        console.print(Text(f"SHA-256 of either decision log: {found.sha[0]}"), soft_wrap=True)
        return
    console.print(Text(f"not the same decisions: {found.reason}", "bold yellow"), soft_wrap=True)
    for name, a, b in zip(found.ids, found.a, found.b):
        console.print(Text(f"  {name}: {a!r} in A, {b!r} in B"), soft_wrap=True)
    raise typer.Exit(1)
