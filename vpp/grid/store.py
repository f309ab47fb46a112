"""Loading a network: from the cache where it has been compiled before, otherwise through pandapower."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpp.grid import source as sources
from vpp.grid.islands import with_forming
from vpp.grid.network import Network
from vpp.grid.step_tables import apply_steps
from vpp.kernel.errors import NetworkError


def cache_dir() -> Path:
    """Directory of the compiled networks: ``$VPP_CACHE_DIR``, else the XDG cache, + ``vpp-core/networks``."""
    root = os.environ.get("VPP_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "vpp-core" / "networks"


def load_network(
    spec: str, *, cache: bool = True, base: Path | None = None, forming: Mapping[int | str, float] | None = None
) -> Network:
    """Load and compile a network.

    Args:
        spec: ``simbench:<code>``, ``pandapower:<name>`` (also ``cigre_mv``, ``cigre_lv``) or ``file:<path>`` to a
            pandapower JSON or a MATPOWER ``.m`` file.
        cache: use and fill the cache; from there nothing heavy is imported.
        base: directory that a relative file path starts from (default: the current one).
        forming: bus (name or source id) -> voltage [pu] that a resource there holds: it is the slack of its island, and
            no public grid is connected to that. Part of the network's source, its digest and its cache file.

    Raises:
        NetworkError: unknown specification, name or file, or a network that cannot be compiled.
    """
    spec = with_forming(spec, forming or {})
    resolved = sources.resolve(spec, base)
    digest = sources.digest(resolved)
    path = cache_dir() / f"{digest}.npz"
    if cache and path.is_file():
        try:
            return Network.from_file(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            pass  # a damaged file is compiled again and replaced
    from vpp.grid.compile import compile_network

    net, notes = sources.load_source(resolved, shown=spec)
    network = compile_network(net, resolved, digest, notes)
    if cache:
        write_atomically(path, network.to_bytes())
    return network


def write_atomically(path: Path, content: bytes) -> None:
    """Write a cache file so that a reader sees it whole or not at all. A cache that cannot be written is left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)


def to_pandapower(network: Network) -> Any:
    """Load the pandapower network that ``network`` was compiled from, with the same tap resolution and ``network``'s steps.

    Raises:
        NetworkError: its source has changed or gone since.
    """
    resolved = sources.resolve(network.source)
    if sources.digest(resolved) != network.digest:
        raise NetworkError(network.source, "has changed since it was compiled; load it again")
    net = sources.load_source(resolved)[0]
    apply_steps(net, network.taps, network.branch_kind, network.branch_id, network.shunts)
    return net
