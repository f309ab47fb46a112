"""One thing that is wrong with a network: a value, with how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEVELS: Final = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class GridFinding:
    """One thing that is wrong.

    Attributes:
        rule: short name of the rule, to search and to filter for.
        level: "error", "warning" or "info".
        kind: of the elements ("line", "bus" …; "network" for the whole).
        ids: the elements, as their source numbers them; names in a three-phase network.
        message: what is wrong.
        mend: how to mend it.
    """

    rule: str
    level: str
    kind: str
    ids: tuple[int | str, ...]
    message: str
    mend: str

    def __str__(self) -> str:
        """Render in one line."""
        shown = ", ".join(map(str, self.ids[:5])) + (f" … ({len(self.ids)})" if len(self.ids) > 5 else "")
        return f"{self.level}: {f'{self.kind} {shown}'.strip()}: {self.message}; {self.mend} [{self.rule}]"
