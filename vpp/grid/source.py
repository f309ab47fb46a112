"""From a specification to a pandapower network: SimBench code, pandapower built-in, JSON, MATPOWER case or CGMES profiles.

The heavy libraries are imported inside the functions. :func:`load_source` also resolves what pandapower would
silently pass over: SimBench's tap positions (``tap_changer_type`` is None there and pandapower 3 then ignores
``tap_pos``).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vpp.grid.islands import form, split_forming, with_forming
from vpp.kernel.errors import NetworkError

SCHEMES = ("simbench", "pandapower", "file")
MATPOWER = (".m", ".mat")
KNOWN = ".json (our own or pandapower), .m or .mat (MATPOWER), .zip or a folder of .xml (CGMES)"
COMPILER_VERSION = 3  # raise it whenever compile.py or source.py changes what comes out


def resolve(spec: str, base: Path | None = None) -> str:
    """Check the form of a specification and make a file's path absolute; NetworkError if it has no known scheme."""
    plain, forming = split_forming(spec)
    return with_forming(_resolve(plain, base), forming)


def _resolve(spec: str, base: Path | None) -> str:
    """The same for a specification without forming buses."""
    scheme, colon, rest = spec.partition(":")
    if not colon or scheme not in SCHEMES or not rest:
        near = difflib.get_close_matches(scheme, SCHEMES, 1)
        hint = f"; did you mean {near[0]}:?" if near and near[0] != scheme else ""
        raise NetworkError(spec, "expected simbench:<code>, pandapower:<name> or file:<path>" + hint)
    if scheme != "file":
        return spec
    path = Path(rest).expanduser()
    path = (path if path.is_absolute() else (base or Path.cwd()) / path).resolve()
    if path.is_dir():
        if not _profiles(path):
            raise NetworkError(spec, f"there is no CGMES profile (.xml) in {path}")
        return f"file:{path}"
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _siblings(path), 1)
        raise NetworkError(spec, f"no file {path}" + (f"; did you mean {near[0]}?" if near else ""))
    if path.suffix.lower() == ".dss":
        raise NetworkError(spec, f"is a three-phase network; this takes balanced ones: {KNOWN}")
    if path.suffix.lower() not in (".json", *MATPOWER, ".zip"):
        raise NetworkError(spec, f"{path.suffix or 'a file without suffix'} is not read: {KNOWN}")
    return f"file:{path}"


def _profiles(folder: Path) -> list[Path]:
    """The CGMES profiles of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".xml")


def _siblings(path: Path) -> list[str]:
    """List the files beside a path that does not exist, for the suggestion."""
    return sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []


def digest(source: str) -> str:
    """Hash a resolved specification with all that decides what it compiles to (hex, 32 characters)."""
    scheme, _, rest = split_forming(source)[0].partition(":")
    h = hashlib.sha256(f"{source}\0{COMPILER_VERSION}\0pandapower {_version('pandapower')}".encode())
    if scheme == "simbench":
        h.update(f"\0simbench {_version('simbench')}".encode())
    elif scheme == "file":
        path = Path(rest)
        for file in _profiles(path) if path.is_dir() else [path]:
            h.update(b"\0" + file.read_bytes())
    return h.hexdigest()[:32]


def _version(package: str) -> str:
    """Version of an installed package, without importing it; "absent" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def load_source(source: str, *, shown: str | None = None) -> tuple[Any, tuple[str, ...]]:
    """Load a resolved specification as a pandapower network, taps resolved; ``shown`` is the user's own text.

    Returns the network and notes on what was decided. Raises NetworkError.
    """
    spec = shown or source
    plain, forming = split_forming(source)
    scheme, _, rest = plain.partition(":")
    reader = {"simbench": _simbench, "pandapower": _builtin, "file": _file}[scheme]
    with quiet():
        try:
            net = reader(spec, rest)
        except NetworkError:
            raise
        except ImportError as error:
            raise NetworkError(spec, f"needs a package that is not installed: {error}") from error
        except Exception as error:
            raise NetworkError(spec, f"cannot be read: {type(error).__name__}: {error}") from error
        notes = resolve_taps(net)
        return net, (*notes, *(form(net, split_forming(spec)[0], forming) if forming else ()))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep other libraries' warnings and log lines away from our users."""
    loggers = [logging.getLogger(name) for name in ("pandapower", "simbench", "numexpr")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def suggest(name: str, known: Sequence[str]) -> str:
    """Write "; did you mean a, b?" with the nearest known names, or "" where none is near."""
    near = difflib.get_close_matches(name, known, 3, 0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _simbench(spec: str, code: str) -> Any:
    """Load a SimBench code. Data: ODbL, https://simbench.de."""
    import simbench

    codes = simbench.collect_all_simbench_codes()
    if code not in codes:
        raise NetworkError(spec, f"SimBench has no network {code!r}" + suggest(code, codes))
    return simbench.get_simbench_net(code)


def _builtin(spec: str, text: str) -> Any:
    """Load a function of pandapower.networks, with arguments as ``name?key=value&key=value``."""
    import pandapower.networks as pn

    name, _, query = text.partition("?")
    known = {
        n: f
        for n, f in vars(pn).items()
        if inspect.isfunction(f) and f.__module__.startswith("pandapower.networks") and not n.startswith("_")
    }
    for candidate in (name, f"create_{name}", name.replace("cigre_", "create_cigre_network_")):
        if candidate in known:
            break
    else:
        short = [n.replace("create_cigre_network_", "cigre_").removeprefix("create_") for n in known]
        raise NetworkError(spec, f"pandapower has no network {name!r}" + suggest(name, [*short, *known]))
    arguments: dict[str, Any] = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        accepted = inspect.signature(known[candidate]).parameters
        if not equals or key not in accepted:
            raise NetworkError(spec, f"{candidate} takes no argument {key!r}" + suggest(key, list(accepted)))
        arguments[key] = {"true": True, "false": False}.get(value.lower(), value)
    net = known[candidate](**arguments)
    return net[0] if isinstance(net, tuple) else net


def _file(spec: str, path: str) -> Any:
    """Load a network of our own format, a pandapower JSON, a MATPOWER case, a CGMES archive or a folder of its profiles."""
    if path.lower().endswith(MATPOWER):
        from pandapower.converter.matpower import from_mpc

        return from_mpc(path)
    folder = Path(path).is_dir()
    if folder or path.lower().endswith(".zip"):
        if not folder:
            _check_archive(spec, path)
        from pandapower.converter.cim.cim2pp import from_cim

        return from_cim.from_cim(file_list=[str(file) for file in _profiles(Path(path))] if folder else [path])
    from vpp.grid.format import is_network, read_network

    if is_network(Path(path)):
        return read_network(Path(path)).to_pandapower()
    import pandapower

    net = pandapower.from_json(path)
    if not isinstance(net, pandapower.pandapowerNet):
        raise NetworkError(spec, "is JSON, but not a pandapower network")
    return net


def _check_archive(spec: str, path: str) -> None:
    """Make sure that a ZIP file holds what may be CGMES; the converter itself says little."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise NetworkError(spec, "is no ZIP file") from None
    if not any(name.lower().endswith(".xml") for name in names):
        raise NetworkError(spec, "is no CGMES archive: there is no XML file inside")


def resolve_taps(net: Any) -> list[str]:
    """Let every transformer that states tap data use them: a missing ``tap_changer_type`` becomes "Ratio".

    pandapower 3 ignores ``tap_pos`` without a type, other engines apply it. Returns notes.
    """
    import numpy as np
    import pandas as pd

    notes = []
    for element in ("trafo", "trafo3w"):
        table = net[element]
        for t in ("", "2"):
            names = [f"tap{t}_{column}" for column in ("pos", "neutral", "side", "step_percent")]
            if len(table) == 0 or any(name not in table for name in names):
                continue
            kind = f"tap{t}_changer_type"
            present = table[kind] if kind in table else pd.Series(None, index=table.index, dtype=object)
            bare = present.isna() | present.astype(str).isin(["", "None", "nan"])
            pos, neutral, step = (pd.to_numeric(table[names[i]]).to_numpy(float) for i in (0, 1, 3))
            sided = table[names[2]].astype(str).isin(["hv", "mv", "lv"]).to_numpy()
            usable = bare.to_numpy() & sided & np.isfinite(pos) & np.isfinite(neutral) & np.isfinite(step)
            if f"tap{t}_dependency_table" in table:
                usable &= ~table[f"tap{t}_dependency_table"].fillna(False).to_numpy(bool)
            if not usable.any():
                continue
            net[element][kind] = present.astype(object).where(~usable, "Ratio")
            off = int(np.sum(usable & (pos != neutral)))
            notes.append(f"{element}: {int(usable.sum())} tap changers without a type taken as Ratio, {off} off neutral")
    return notes
