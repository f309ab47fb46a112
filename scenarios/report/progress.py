"""How far a run is: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

REFRESH_S: Final = 0.1
LINES_S: Final = 5.0


class Watch:
    """Shows progress on stderr while it is entered; call it with (steps done, steps in all).

    Attributes:
        note: what is told instead of the speed; None: the speed.
    """

    def __init__(self, name: str, *, quiet: bool = False, console: Console | None = None) -> None:
        """Begin with what is loaded first."""
        self.note: Callable[[], str] | None = None
        self._console = console or Console(stderr=True)
        self._name, self._quiet = name, quiet
        self._begin = self._last = 0.0
        self._bar: Progress | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TextColumn("[dim]{task.fields[speed]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                refresh_per_second=5,
                transient=True,
            )
            self._task = self._bar.add_task(f"Loading {name}", total=None, speed="")

    def __enter__(self) -> Self:
        """Say what is being loaded."""
        if self._bar is not None:
            self._bar.start()
        elif not self._quiet:
            self._say(f"loading {self._name}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show it, unless something was shown just now: a run takes many steps a second."""
        now = monotonic()
        if not self._begin:
            self._begin = self._last = now
            self._first = done
        interval = REFRESH_S if self._bar is not None else LINES_S
        if self._quiet or (now - self._last < interval and done < total):
            return
        self._last = now
        speed = (done - self._first) / max(now - self._begin, 1e-9)
        rate = self.note() if self.note else f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.2g} steps/s"
        if self._bar is not None:
            self._bar.update(self._task, description=f"Running {self._name}", completed=done, total=total, speed=rate)
        elif now - self._begin >= LINES_S:
            left = f", {_clock((total - done) / speed)} left" if speed > 0 and done < total else ""
            self._say(f"{done} of {total} steps ({done / total:.0%}), {rate}{left}")

    def stage(self, text: str) -> None:
        """Say what is done now."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif not self._quiet:
            self._say(text[:1].lower() + text[1:])

    def say(self, text: Text) -> None:
        """Print a line, above the bar where there is one."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True, highlight=False)

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are any."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"
