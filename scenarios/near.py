"""Near misses: the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Write ", did you mean 'a' or 'b'?" with the nearest names, or "" where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 2, 0.65)
    if not near:
        lower = {n.lower(): n for n in names}
        near = [lower[m] for m in difflib.get_close_matches(name.lower(), lower, 2, 0.65)]
    return f", did you mean {' or '.join(map(repr, near))}?" if near else ""
