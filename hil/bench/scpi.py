"""Laboratory instruments over SCPI on TCP: grid source, DC source, meter, clock; every exchange has a deadline.

Commands differ from maker to maker, so they are data: `Words` are the usual ones, another instrument brings its own.
"""

from __future__ import annotations

import math
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hil.bench.ports import Reading
from vpp.kernel.errors import LinkError

MAX_LINE = 65536
RECORD = 200  # readings in one answer


@dataclass(frozen=True, slots=True)
class Words:
    """What an instrument calls its functions; ``{}`` takes the value."""

    identity: str = "*IDN?"
    error: str = "SYST:ERR?"
    volts: str = "SOUR:VOLT {:.4f}"
    hertz: str = "SOUR:FREQ {:.5f}"
    degrees: str = "SOUR:PHAS {:.3f}"
    watts: str = "SOUR:POW {:.3f}"
    reading: str = "MEAS:POW:ACT?;:MEAS:POW:REAC?;:MEAS:VOLT?;:MEAS:FREQ?"
    time: str = "SYST:TIME?"
    record: str = "SYST:TIME:REC? {:.9g},{:d}"


class ScpiLink:
    """A connection to one instrument: lines of text, a deadline for each exchange; connects when it is first needed.

    After a deadline or a broken connection the link is closed, so that a late answer is never taken for the next one.
    """

    def __init__(self, host: str, port: int, timeout_s: float = 2.0, words: Words = Words()) -> None:
        """Name the instrument; nothing is sent yet."""
        self.name, self._address, self._timeout_s, self.words = f"scpi://{host}:{port}", (host, port), timeout_s, words
        self._socket: socket.socket | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        """Use it as a context to have it closed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next exchange opens it again."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def identity(self) -> str:
        """Who the instrument says it is."""
        return self.query(self.words.identity)

    def query(self, line: str) -> str:
        """Send a line and give the answer.

        Raises:
            LinkError: no connection, or no answer before the deadline.
        """
        return self._exchange(line, answered=True)

    def tell(self, *lines: str) -> None:
        """Send commands, and ask whether the instrument found anything wrong with them.

        Raises:
            LinkError: as `query`, or the instrument reports an error.
        """
        for line in lines:
            self._exchange(line, answered=False)
        verdict = self.query(self.words.error)
        code = verdict.split(",")[0].strip()
        if code.lstrip("+-") != "0":
            raise LinkError(self.name, f"the instrument reports {verdict!r} after {'; '.join(lines)!r}")

    def numbers(self, line: str, count: int) -> list[float]:
        """Send a query and give its numbers, split at ; or ,; SCPI's 9.91E+37 is not a number."""
        answer = self.query(line)
        parts = answer.replace(";", ",").split(",")
        try:
            found = [float(part) for part in parts]
        except ValueError:
            raise LinkError(self.name, f"answers {answer!r} to {line!r}, where numbers were asked for") from None
        if len(found) != count:
            raise LinkError(self.name, f"answers {len(found)} numbers to {line!r}, not {count}")
        return [math.nan if abs(value) > 9.8e37 else value for value in found]

    def _exchange(self, line: str, *, answered: bool) -> str:
        deadline = time.monotonic() + self._timeout_s
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, self._timeout_s)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._left(deadline)
            self._socket.sendall(line.encode("ascii") + b"\n")
            return self._line(deadline) if answered else ""
        except (OSError, TimeoutError) as error:
            self.close()
            raise LinkError(self.name, f"{line!r}: {error or type(error).__name__}") from error

    def _left(self, deadline: float) -> None:
        """Give the socket what is left of the time."""
        left = deadline - time.monotonic()
        if left <= 0.0 or self._socket is None:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s")
        self._socket.settimeout(left)

    def _line(self, deadline: float) -> str:
        while b"\n" not in self._rest:
            self._left(deadline)
            got = self._socket.recv(4096) if self._socket is not None else b""
            if not got:
                raise ConnectionError("the instrument has closed the connection")
            self._rest += got
            if len(self._rest) > MAX_LINE:
                raise ConnectionError("an answer without end")
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("ascii", "replace").strip()


class ScpiGrid:
    """A grid simulator: volts from per unit by the nominal voltage."""

    has_phase = True

    def __init__(self, link: ScpiLink, v_nom: float) -> None:
        """Drive it; ``v_nom`` [V] is 1 pu."""
        self._link, self._v_nom, self._phase = link, v_nom, 0.0

    def apply(self, v_pu: float, f_hz: float, phase_degree: float = 0.0) -> None:
        """Set frequency, voltage and, where it changes, phase angle."""
        words = self._link.words
        lines = [words.hertz.format(f_hz), words.volts.format(v_pu * self._v_nom)]
        if phase_degree != self._phase:
            lines.append(words.degrees.format(phase_degree))
        self._link.tell(*lines)
        self._phase = phase_degree


class ScpiDc:
    """A PV simulator or DC source with a power setting."""

    def __init__(self, link: ScpiLink) -> None:
        """Drive it."""
        self._link = link

    def apply(self, p_mw: float) -> None:
        """Set the power that can be had."""
        self._link.tell(self._link.words.watts.format(p_mw * 1e6))


class ScpiMeter:
    """A power analyser; ``inward``: its active and reactive power count what flows into the equipment."""

    def __init__(self, link: ScpiLink, v_nom: float, *, inward: bool = False) -> None:
        """Drive it; ``v_nom`` [V] is 1 pu."""
        self._link, self._v_nom, self._sign = link, v_nom, -1.0 if inward else 1.0

    def measure(self) -> Reading:
        """Read all four at once."""
        return self._reading(*self._link.numbers(self._link.words.reading, 4))

    def _reading(self, watts: float, vars_: float, volts: float, hertz: float) -> Reading:
        return Reading(self._sign * watts / 1e6, self._sign * vars_ / 1e6, volts / self._v_nom, hertz)


class LockStep(ScpiMeter):
    """Clock and meter of an emulated laboratory: time stands until it is told to move on."""

    def __init__(self, link: ScpiLink, v_nom: float) -> None:
        """Drive it; asks what time it is."""
        super().__init__(link, v_nom)
        self._now_s = link.numbers(link.words.time, 1)[0]

    def now_s(self) -> float:
        """Seconds by that clock."""
        return self._now_s

    def advance(self, dt_s: float) -> None:
        """Let time pass over there; it has when this returns."""
        self.record(dt_s, 1)

    def record(self, every_s: float, count: int) -> list[tuple[float, Reading]]:
        """Let time pass in steps over there, with a reading at the end of each: time and reading."""
        found: list[tuple[float, Reading]] = []
        while len(found) < count:
            n = min(count - len(found), RECORD)
            numbers = self._link.numbers(self._link.words.record.format(every_s, n), 5 * n)
            found += [(numbers[k], self._reading(*numbers[k + 1 : k + 5])) for k in range(0, 5 * n, 5)]
        self._now_s = found[-1][0]
        return found
