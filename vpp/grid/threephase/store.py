"""From a specification to a three-phase network: ``dss:<path>`` or ``file:<path>.dss``."""

from __future__ import annotations

from pathlib import Path

from vpp.grid.threephase.compile import compile_feeder
from vpp.grid.threephase.network import ThreePhaseNetwork
from vpp.kernel.errors import NetworkError


def load_threephase(spec: str, base: Path | None = None) -> ThreePhaseNetwork:
    """Read and compile an OpenDSS script, its path relative to ``base``; NetworkError with every finding."""
    from vpp.grid.dss import read_dss

    return compile_feeder(read_dss(script_of(spec, base), spec))


def script_of(spec: str, base: Path | None = None) -> Path:
    """The script that a specification names, absolute; NetworkError where it names none or there is none."""
    scheme, colon, rest = spec.partition(":")
    if not colon or not rest or scheme not in ("dss", "file") or (scheme == "file" and not rest.lower().endswith(".dss")):
        raise NetworkError(spec, "expected dss:<path> or file:<path>.dss for a three-phase network")
    path = Path(rest).expanduser()
    path = (path if path.is_absolute() else (base or Path.cwd()) / path).resolve()
    if not path.is_file():
        raise NetworkError(spec, f"no file {path}")
    return path
