"""What an emulated device does with what is written to it: switches, leases that run out, signs of life, local control."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.commands import LEASES, SWITCHES
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.wire.control import Control
from vpp.wire.link import ACCEPT, Answer, Status

FOREVER: Final = np.iinfo(np.int64).max
_ROWS: Final = {s.name: s.row for s in Control.signals}
_SWITCH, _LEASE = [_ROWS[name] for name in SWITCHES], [_ROWS[name] for name in LEASES]
_IS_SWITCH: Final = np.isin(np.arange(max(len(Control.signals), len(Setpoints.signals))), _SWITCH)
# The setpoint that belongs to each switch: writing it begins its lease anew.
_SETPOINT: Final = [Setpoints.p_limit_mw.row, Setpoints.p_mw.row, Setpoints.q_mvar.row]


@dataclass
class Firmware:
    """The control parts of n emulated devices.

    Attributes:
        n: devices.
        modal: (n,) True where the wire carries the setpoints' own modes; else switches say what leads.
        switched: (3, n) True where there is such a switch; a setpoint without one leads from when it is written.
        patience_s: (n,) of a device without leases: after so long without a sign of life it leads itself; 0: never.
        held: setpoints as written.
        control: (signals, n) of `Control` as written; ``remote`` may be set from here (0: somebody works at the device).
        ends_ns: (3, n) when limit, active and reactive setpoint end unless they are renewed.
        fell_back: how often a lease ran out.
    """

    n: int
    modal: BoolArray
    switched: BoolArray | None = None
    patience_s: FloatArray | None = None
    held: Setpoints = field(init=False)
    control: FloatArray = field(init=False)
    ends_ns: IntArray = field(init=False)
    fell_back: int = 0

    def __post_init__(self) -> None:
        """Devices as they are switched on: they lead themselves."""
        self.held = Setpoints.neutral(self.n)
        self.control = np.zeros((len(Control.signals), self.n))
        self.control[_ROWS["remote"]] = 1.0
        self.ends_ns = np.full((len(SWITCHES), self.n), FOREVER)
        self._written = np.zeros((len(SWITCHES), self.n), np.bool_)
        self._alone = np.zeros_like(self._written) if self.switched is None else ~self.switched & ~self.modal
        self._patience = np.zeros(self.n) if self.patience_s is None else self.patience_s

    def reboot(self, at: IntArray) -> None:
        """Switch devices off and on: whatever was written is forgotten."""
        self.held.block[:, at] = Setpoints.neutral(len(at)).block
        self.control[:, at] = 0.0
        self.control[_ROWS["remote"], at] = 1.0
        self.ends_ns[:, at] = FOREVER
        self._written[:, at] = False

    def take(self, now_ns: int, is_control: BoolArray, signal: IntArray, device: IntArray, value: FloatArray) -> Answer:
        """Take written values, all or none; the columns say for each where it belongs."""
        if np.any(self.control[_ROWS["remote"], device] == 0.0):
            return Answer(Status.REJECTED, "local control")
        switches = value[is_control & _IS_SWITCH[signal]]
        if np.any((switches != 0.0) & (switches != 1.0)):
            return Answer(Status.OUT_OF_RANGE, "a switch is 0 or 1")
        self.held.block[signal[~is_control], device[~is_control]] = value[~is_control]
        self.control[signal[is_control], device[is_control]] = value[is_control]
        for f, setpoint in enumerate(_SETPOINT):
            self._written[f, device[~is_control & (signal == setpoint)]] = True
        if not (self.control[_LEASE].any() or self._patience.any() or np.any(self.ends_ns != FOREVER)):
            return ACCEPT  # nobody's lease runs
        beats = is_control & (signal == _ROWS["heartbeat"])
        for f, (switch, lease, setpoint) in enumerate(zip(_SWITCH, _LEASE, _SETPOINT)):
            again = beats | (is_control & ((signal == switch) | (signal == lease))) | (~is_control & (signal == setpoint))
            at = np.unique(device[again])
            length = np.round(np.maximum(self.control[lease, at], self._patience[at]) * 1e9).astype(np.int64)
            self.ends_ns[f, at] = np.where(length > 0, now_ns + length, FOREVER)
        return ACCEPT

    def setpoints(self, now_ns: int) -> Setpoints:
        """What the devices hold now; leases that have run out are over."""
        over = now_ns >= self.ends_ns
        if over.any():
            self._end(over)
        out = Setpoints(self.held.block.copy())
        limit, follow, q_follow = (self.control[_SWITCH] > 0.0) | (self._alone & self._written)
        mode = np.where(follow, float(FOLLOW), np.where(limit, float(LIMIT), float(AUTONOMOUS)))
        out.mode = np.where(self.modal, self.held.mode, mode)
        out.q_mode = np.where(self.modal, self.held.q_mode, np.where(q_follow, float(FOLLOW), float(AUTONOMOUS)))
        out.p_limit_mw = np.where(self.modal | limit, self.held.p_limit_mw, np.inf)
        return out

    def _end(self, over: BoolArray) -> None:
        """Leases (3, n) are over: the devices lead themselves."""
        self.fell_back += int(over.sum())
        for f, switch in enumerate(_SWITCH):
            self.control[switch, over[f]] = 0.0
            self._written[f, over[f]] = False
            self.held.block[Setpoints.q_mode.row if f == 2 else Setpoints.mode.row, over[f] & self.modal] = AUTONOMOUS
        self.ends_ns[over] = FOREVER
