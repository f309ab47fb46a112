"""A small SCPI instrument for tests: grid simulator, PV simulator and power analyser in one, around a simulated world."""

from __future__ import annotations

import socketserver
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from hil.bench.simulated import World

V_NOM = 277.0


class Instrument:
    """Serves on a port of its own.

    Attributes:
        log: the commands that arrived.
        mood: "" answers; "mute" swallows everything; "slow" answers late; "hangs up"; "babbles" answers no numbers; "endless".
    """

    def __init__(self, world: World) -> None:
        self.world, self.log, self.mood = world, list[str](), ""
        self._errors: list[str] = []
        instrument = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for raw in self.rfile:
                    answer = instrument.answer(raw.decode("ascii").strip())
                    if instrument.mood == "hangs up":
                        return
                    if instrument.mood == "slow":
                        time.sleep(0.4)
                    if answer and instrument.mood != "mute":
                        with suppress(ConnectionError):  # whoever asked has gone
                            self.wfile.write(answer)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, line: str) -> bytes:
        """Obey a line; commands are joined by semicolons."""
        answers = []
        for command in line.split(";"):
            command = command.lstrip(":")
            self.log.append(command)
            name, _, value = command.partition(" ")
            if name == "*IDN?":
                answers.append("ACME,Simulator 9000,1,2.0")
            elif name == "SYST:ERR?":
                answers.append(self._errors.pop(0) if self._errors else '0,"No error"')
            elif name.endswith("?"):
                answers.append(self._measured(name))
            else:
                self._obey(name, value)
        if self.mood == "babbles" and "?" in line:
            return b"hello\n"
        if self.mood == "endless" and "?" in line:
            return b"1" * 100_000
        return (";".join(answers) + "\n").encode("ascii") if answers else b""

    def _measured(self, name: str) -> str:
        reading = self.world.measure()
        found = {
            "MEAS:POW:ACT?": reading.p_mw * 1e6, "MEAS:POW:REAC?": reading.q_mvar * 1e6, "MEAS:VOLT?": reading.vm_pu * V_NOM,
            "MEAS:FREQ?": reading.f_hz,
        }  # fmt: skip
        return f"{found[name]:.6E}" if name in found else "9.91E+37"

    def _obey(self, name: str, value: str) -> None:
        if name == "SOUR:VOLT" and float(value) <= 1.3 * V_NOM:
            self.world.vm_pu = float(value) / V_NOM
        elif name == "SOUR:FREQ":
            self.world.f_hz = float(value)
        elif name == "SOUR:POW":
            self.world.p_avail_mw = float(value) / 1e6
        elif name != "SOUR:PHAS":
            self._errors.append(f'-222,"Data out of range: {name} {value}"')
