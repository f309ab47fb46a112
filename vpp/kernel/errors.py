"""The errors of VPP Core.

    VppError
    ├── ScenarioError      what a user wrote is wrong; carries every finding with file, line, path and value
    ├── NetworkError       a network cannot be found, read or compiled
    ├── DeviceError        the model of a device cannot be made, or cannot do what is asked of it
    ├── RunError           a run directory cannot be read or written
    ├── LinkError          a connection to a device or peer
    ├── PointError         one addressed value on a wire
    ├── SolveError
    │   ├── Infeasible     the constraints contradict one another
    │   └── Diverged       the iteration found no solution
    └── NotObservable      measurements do not determine the state

Validation returns *findings* (values, all of them at once); an error is raised once, at the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class VppError(Exception):
    """Anything that VPP Core itself reports. The command line prints it without a traceback."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in what a user gave us: where it stands, what it is, how to mend it."""

    message: str
    file: str = ""
    line: int = 0
    path: str = ""
    value: str = ""
    severity: str = "error"  # or "warning": it can be used, but is probably not meant

    def __str__(self) -> str:
        """Render as ``file:line: path: message (got value)``, leaving out what is not known."""
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        path = f"{self.path}: " if self.path else ""
        value = f" (got {self.value})" if self.value else ""
        kind = "" if self.severity == "error" else f"{self.severity}: "
        return f"{place}{kind}{path}{self.message}{value}"


class ScenarioError(VppError):
    """A scenario cannot be used; ``findings`` holds every reason, not only the first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        """Keep the findings; the text is one line for each."""
        self.findings = tuple(findings)
        super().__init__("\n".join(str(f) for f in self.findings))


class NetworkError(VppError):
    """A network specification that cannot be found, read or compiled."""

    def __init__(self, spec: str, reason: str) -> None:
        """Name the specification as the user wrote it, and the reason."""
        self.spec, self.reason = spec, reason
        super().__init__(f"network {spec!r}: {reason}")


class RunError(VppError):
    """A run directory that cannot be read or written."""

    def __init__(self, path: str, reason: str) -> None:
        """Name the directory and the reason."""
        self.path, self.reason = path, reason
        super().__init__(f"run {path}: {reason}")


class DeviceError(VppError):
    """The model of a device cannot be made, or cannot do what is asked of it."""

    def __init__(self, device: str, reason: str) -> None:
        """Name the device, or its file, and the reason."""
        self.device, self.reason = device, reason
        super().__init__(f"{device}: {reason}")


class LinkError(VppError):
    """A connection to a device or peer failed."""

    def __init__(self, link: str, reason: str) -> None:
        """Name the link and the reason."""
        self.link, self.reason = link, reason
        super().__init__(f"link {link}: {reason}")


class PointError(VppError):
    """One addressed value on a wire cannot be mapped, read or written."""

    def __init__(self, point: str, reason: str) -> None:
        """Name the point and the reason."""
        self.point, self.reason = point, reason
        super().__init__(f"point {point}: {reason}")


class SolveError(VppError):
    """A numerical problem without a usable answer."""


class Infeasible(SolveError):
    """The constraints contradict one another."""


class Diverged(SolveError):
    """An iteration found no solution on one island of a network."""

    def __init__(self, island: str, reason: str) -> None:
        """Name the island (or network) and what was tried."""
        self.island, self.reason = island, reason
        super().__init__(f"{island}: {reason}")


class NotObservable(VppError):
    """The measurements at hand do not determine the state at these buses."""

    def __init__(self, buses: Sequence[str]) -> None:
        """Keep the buses that are not determined."""
        self.buses = tuple(buses)
        super().__init__("not observable: " + ", ".join(self.buses))
