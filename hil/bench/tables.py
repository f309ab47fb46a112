"""The tables of IEEE 1547.1 as package data: `data/ieee1547_1.json`, its source in its note."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def _tables() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((resources.files("hil.bench") / "data" / "ieee1547_1.json").read_text("utf-8"))
    return found


def table(name: str) -> Any:
    """One of the tables."""
    return _tables()[name]
