"""Events of a run: a line each as they come, a parquet table once the run has ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vpp.historian.files import spare, to_json, write_all
from vpp.kernel.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

LINES: Final = "events.jsonl"
TABLE: Final = "events.parquet"


class EventLog:
    """Appends events to ``events.jsonl``, each of them in the file when ``add`` returns."""

    def __init__(self, path: Path) -> None:
        """Start an empty log; raises OSError."""
        self._path = path
        self._fd = os.open(path / LINES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = 0

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append; raises OSError, and then none of the entries is in the file."""
        data = b"".join(to_json(dict(entry)) + b"\n" for entry in entries)
        try:
            write_all(self._fd, data)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def finish(self) -> None:
        """Turn the lines into the table, atomically, and remove them; raises OSError."""
        import pyarrow.parquet as pq

        target = self._path / TABLE
        try:
            pq.write_table(_table(read_lines(self._path / LINES)), spare(target))
        except OSError:
            spare(target).unlink(missing_ok=True)
            raise
        os.replace(spare(target), target)
        (self._path / LINES).unlink()

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines. A last line without an end was torn by a kill and is left out; raises OSError, ValueError."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def read_events(path: str | Path) -> pd.DataFrame:
    """Give the events of a run, finished or not, one a row in the order in which they came."""
    directory = Path(path)
    if not directory.is_dir():
        raise RunError(str(directory), "no such directory")
    try:
        if (directory / TABLE).exists():
            import pyarrow.parquet as pq

            return _frame(pq.read_table(directory / TABLE))
        return _frame(_table(read_lines(directory / LINES)))
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        raise RunError(str(directory), f"its events cannot be read: {error}") from error


def _table(entries: Sequence[Mapping[str, Any]]) -> Any:
    """A table with a column for every key; a column of mixed or nested values is kept as JSON text."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for entry in entries for name in entry))
    columns = {name: _column([entry.get(name) for entry in entries]) for name in names}
    return pa.table({name: pa.array(values, from_pandas=False) for name, values in columns.items()})


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float} and len(kinds) > 1:
        return [None if v is None else float(v) for v in values]
    if len(kinds) <= 1 and not kinds & {dict, list} and not (kinds == {int} and any(abs(v or 0) >= 2**63 for v in values)):
        return values
    return [None if v is None else json.dumps(v, ensure_ascii=False) for v in values]


def _frame(table: Any) -> pd.DataFrame:
    """As pandas; whole numbers stay whole where some are missing (times in ns would lose digits as floats)."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=None)
    for field in table.schema:
        if str(field.type) == "int64" and table[field.name].null_count:
            frame[field.name] = pd.array(table[field.name].to_pylist(), dtype="Int64")
    return frame
