"""Our own network format: ``<name>.json`` says what is there and holds the texts, ``<name>.npz`` beside it the numbers.

The JSON file carries the SHA-256 of the other one, so that two files that do not belong together are noticed. Older
versions are read through `MIGRATIONS`, one step at a time.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from vpp.grid.model import SCHEMA, NetworkModel, Table
from vpp.kernel.errors import NetworkError

FORMAT: Final = "vpp-network"
VERSION: Final = 2
Raw = dict[str, Any]  # the JSON file's content, with every column under "tables"


def save_network(model: NetworkModel, path: Path) -> None:
    """Write a network to ``path`` (its suffix is .json) and the .npz file beside it."""
    numbers: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for kind, columns in SCHEMA.items():
        table = model.tables[kind]
        if not len(table["id"]):
            continue
        tables[kind] = {"rows": len(table["id"]), "texts": {c.name: table[c.name].tolist() for c in columns if c.dtype == "U"}}
        numbers |= {
            f"{kind}.{c.name}": table[c.name].astype(f"<{c.dtype}" if c.dtype != "b1" else "u1")
            for c in columns
            if c.dtype != "U"
        }
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:  # by hand: the same network gives the same bytes
        for name, array in numbers.items():
            one = io.BytesIO()
            np.save(one, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue(), zipfile.ZIP_DEFLATED)
    content = {
        "format": FORMAT, "version": VERSION, "name": model.name, "sn_mva": model.sn_mva, "f_hz": model.f_hz,
        "numbers": {"file": path.with_suffix(".npz").name, "sha256": hashlib.sha256(memory.getvalue()).hexdigest()},
        "tables": tables,
    }  # fmt: skip
    path.with_suffix(".npz").write_bytes(memory.getvalue())
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")


def is_network(path: Path) -> bool:
    """Whether a JSON file is of this format; it may also be no JSON at all."""
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(400)
    except (OSError, UnicodeDecodeError):
        return False
    return f'"format": "{FORMAT}"' in head


def read_network(path: Path) -> NetworkModel:
    """Read a network of this or an older version.

    Raises:
        NetworkError: the files are damaged, of a newer version, or do not belong together.
    """
    shown = f"file:{path}"
    try:
        raw: Raw = json.loads(path.read_text("utf-8"))
        version = raw["version"]
        if raw["format"] != FORMAT or not isinstance(version, int) or version < 1:
            raise NetworkError(shown, f"is no {FORMAT}")
        if version > VERSION:
            raise NetworkError(shown, f"is of version {version}; this program reads up to {VERSION}")
        content = (path.parent / raw["numbers"]["file"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != raw["numbers"]["sha256"]:
            raise NetworkError(shown, f"{raw['numbers']['file']} is not the file that it was written with")
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            for name in data.files:
                kind, _, column = name.partition(".")
                raw["tables"][kind].setdefault("numbers", {})[column] = data[name]
        for step in range(version, VERSION):
            MIGRATIONS[step](raw)
        return _model(raw)
    except OSError as error:
        raise NetworkError(shown, f"cannot be read: {error.strerror}: {error.filename}") from error
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise NetworkError(shown, f"is damaged: {type(error).__name__}: {error}") from error


def _model(raw: Raw) -> NetworkModel:
    """The model of a file of the present version; columns that are not there have their defaults."""
    tables: dict[str, Table] = {}
    for kind, columns in SCHEMA.items():
        stored = raw["tables"].get(kind, {"rows": 0})
        n, table = int(stored["rows"]), {}
        for column in columns:
            values = stored.get("texts" if column.dtype == "U" else "numbers", {}).get(column.name)
            dtype = np.object_ if column.dtype == "U" else column.dtype
            table[column.name] = np.full(n, column.default, dtype) if values is None else np.array(values).astype(dtype)
            if len(table[column.name]) != n:
                raise ValueError(f"{kind}.{column.name} has {len(table[column.name])} rows instead of {n}")
        tables[kind] = table
    return NetworkModel(raw["name"], float(raw["sn_mva"]), float(raw["f_hz"]), tables)


def _from_1(raw: Raw) -> None:
    """Version 1 counted consumption and charging positive, and the state of charge in percent."""
    for kind, names in (("load", ("p_mw", "q_mvar")), ("storage", ("p_mw", "q_mvar"))):
        for name in names:
            if name in raw["tables"].get(kind, {}).get("numbers", {}):
                raw["tables"][kind]["numbers"][name] = 0.0 - raw["tables"][kind]["numbers"][name]
    storage = raw["tables"].get("storage", {}).get("numbers", {})
    if "soc_percent" in storage:
        storage["soc"] = storage.pop("soc_percent") / 100.0


MIGRATIONS: Final[dict[int, Callable[[Raw], None]]] = {1: _from_1}
