"""Reading run directories, finished or not: lazily, and with an error that says what is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp.historian.events import read_events
from vpp.historian.files import locked, read_json
from vpp.historian.layout import MANIFEST, RECORD, Layout
from vpp.historian.tail import Snapshot, snapshot
from vpp.kernel.errors import RunError

if TYPE_CHECKING:
    import xarray as xr

_STILL = "its events (read_events) and its plain zarr (series.zarr) can still be read"

__all__ = ["RunInfo", "list_runs", "open_run", "read_events", "read_manifest"]


@dataclass(frozen=True)
class RunInfo:
    """One line of a list of runs.

    ``status`` is "complete", "interrupted", "failed", "running", "killed" (nobody writes it any more),
    or "damaged" with the reason.
    """

    path: Path
    status: str
    steps_recorded: int = 0
    steps_planned: int = 0
    reason: str = ""
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Give the manifest with ``status`` and ``steps_recorded`` as they are now.

    A run that says "running" though nobody holds it was killed, and is reported as such.
    """
    directory = Path(path)
    manifest = _manifest(directory)
    if manifest.get("status") == "running":
        manifest["status"] = "running" if locked(directory / RECORD) else "killed"
    manifest["steps_recorded"] = _take_stock(directory, read_layout(directory), copy=False).rows
    return manifest


def list_runs(root: str | Path) -> list[RunInfo]:
    """Give every run directory beneath ``root`` (one level), by name; damaged ones say so."""
    runs = []
    if not Path(root).is_dir():
        raise RunError(str(root), "no such directory")
    for directory in sorted(d for d in Path(root).iterdir() if (d / MANIFEST).exists() or (d / RECORD).exists()):
        try:
            m = read_manifest(directory)
        except RunError as error:
            runs.append(RunInfo(directory, "damaged", reason=error.reason))
            continue
        runs.append(RunInfo(directory, m["status"], m["steps_recorded"], m.get("steps_planned", 0), m.get("reason", ""), m))
    return runs


def open_run(path: str | Path, *, skip_damaged: bool = False) -> xr.DataTree:
    """Open a run as a tree: a node an axis ("/resources" with dims time, resource), ``time`` at the root.

    Values are read when they are used. A run that did not end is cut to the steps that were recorded,
    those still in the tails included; of a running one this is a snapshot.

    Args:
        path: the run directory.
        skip_damaged: leave out what cannot be read instead of refusing; attribute ``damaged`` names it.

    Raises:
        RunError: no run here, or something is damaged; also later, from a damaged chunk when it is used.
    """
    from vpp.historian.tree import build_tree

    directory = Path(path)
    manifest = read_manifest(directory)
    layout = read_layout(directory)
    stock = _take_stock(directory, layout, copy=True)
    damage = [stock.problem] if stock.problem and manifest["status"] != "complete" else []
    tree, bad = build_tree(directory, layout, stock)
    damage += bad
    if damage and not skip_damaged:
        raise RunError(str(directory), f"{'; '.join(damage)}; {_rest(directory, stock, len(bad), len(layout.slots))}")
    tree.attrs |= {"status": manifest["status"], "steps_recorded": stock.rows, "steps_planned": layout.steps}
    if damage:
        tree.attrs["damaged"] = damage
    return tree


def read_layout(path: Path) -> Layout:
    """Read ``record.json``."""
    try:
        return Layout.from_dict(read_json(path / RECORD))
    except FileNotFoundError:
        raise RunError(str(path), f"{RECORD} is missing; {_STILL}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(str(path), f"{RECORD} is damaged ({error}); {_STILL}") from error


def _manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise RunError(str(path), "no such directory")
    try:
        return read_json(path / MANIFEST)
    except FileNotFoundError:
        raise RunError(str(path), f"is not a run directory, it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise RunError(str(path), f"{MANIFEST} is damaged ({error}); {_STILL}") from error


def _take_stock(path: Path, layout: Layout, *, copy: bool) -> Snapshot:
    try:
        return snapshot(path, layout, copy=copy)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(str(path), f"progress.json is damaged ({error}); {_STILL}") from error


def _rest(path: Path, stock: Snapshot, bad: int, series: int) -> str:
    readable = f"{series - min(bad, series)} of {series} series and {stock.rows} steps"
    return f"{readable} can still be read with open_run({str(path)!r}, skip_damaged=True)"
