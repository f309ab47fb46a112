"""Near misses: the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Write ", did you mean 'a'?" with the nearest name, upper and lower case alike, or "" where none is near."""
    names = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), names, 1, 0.65)
    return f", did you mean {names[near[0]]!r}?" if near else ""
