"""Ageing of lithium cells: calendar and cycle ageing after published semi-empirical models, cycles counted online.

LFP: M. Naumann et al., "Analysis and modeling of calendar aging of a commercial LiFePO4/graphite cell", J. Energy
Storage 17 (2018) 153-169; M. Naumann, F. Spingler, A. Jossen, "Analysis and modeling of cycle aging of a commercial
LiFePO4/graphite cell", J. Power Sources 451 (2020) 227666 (Sony US26650FTC1, 3 Ah). Loss by the square root of time
and of full equivalent cycles.

NMC: J. Schmalstieg et al., "A holistic aging model for Li(NiMnCo)O2 based 18650 lithium-ion batteries", J. Power
Sources 257 (2014) 325-334 (Sanyo UR18650E, 2.05 Ah). Loss by time to the power of 0.75 and by the square root of the
charge throughput.

Under changing stress each part of the loss goes on as its authors' variables say. LFP (Naumann 2020, section 4): from
the time, or the cycles, that would have led to the present loss under the present stress. NMC: by the derivative of the
published formula after its own variables, the time since manufacture and all charge throughput so far. The capacity is
what is left of the first one; the state of charge stays when capacity fades, and what was stored in it is lost.

Cycles are counted by rainflow (ASTM E1049-85, 5.4.4, three points) on a stack of at most `DEPTH` turning points a device;
where it overflows, its oldest range counts as half a cycle. Movements below `SMALLEST` are no cycles.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from vpp.kernel.signals import FloatArray, IntArray

Chemistry = Literal["none", "LFP", "NMC"]
CHEMISTRIES: Final = {"none": 0, "LFP": 1, "NMC": 2}
LFP: Final = 1
DEPTH: Final = 8
SMALLEST: Final = 5e-4
GAS: Final = 8.3144598  # J/(mol K)
KELVIN: Final = 273.15

# Open-circuit voltage of the UR18650E at 0, 0.1 … 1 state of charge [V]: from the fit that SimSES 1.3.12 (BSD-3-Clause) gives.
NMC_OCV_V: Final = np.array([3.3320, 3.4960, 3.5774, 3.6226, 3.6629, 3.7136, 3.7792, 3.8592, 3.9511, 4.0520, 4.1593])
NMC_AH: Final = 2.05

# Rows of the block of states, a column for each ageing device.
CAL, CYC, AGE_H, LAST, SEEN, WAITED, RISES, HOURS, COUNT, FEC, POINT = range(11)
SPAN: Final = POINT + DEPTH  # then the turning points, then the active hours of the range that ends at each
ROWS: Final = POINT + 2 * DEPTH


def fresh(soc: FloatArray, lost: FloatArray) -> FloatArray:
    """(ROWS, m) states of devices that begin at this state of charge; what they lost before counts as calendar loss.

    An NMC cell's time since manufacture is then what leads to that loss at 25 degrees and half full.
    """
    block = np.zeros((ROWS, soc.size))
    block[AGE_H] = 24.0 * (lost / _alpha(0.5, 298.15)) ** (4.0 / 3.0)
    block[CAL], block[LAST], block[SEEN], block[POINT], block[COUNT] = lost, soc, soc, soc, 1.0
    return block


@njit(cache=True, nogil=True)
def age(
    which: IntArray, chemistry: IntArray, soc: FloatArray, temp_c: FloatArray, hours: float, block: FloatArray, soh: FloatArray
) -> None:  # fmt: skip
    """Age a step: ``which`` are the devices of each column of the block, in ``temp_c`` and ``soh``; ``soc`` is (columns,)."""
    for c in range(which.size):
        j = which[c]
        kelvin = temp_c[j] + KELVIN
        block[CAL, c] = _calendar(chemistry[c], soc[c], kelvin, hours, block[AGE_H, c], block[CAL, c])
        block[AGE_H, c] += hours
        block[WAITED, c] += hours if soc[c] != block[SEEN, c] else 0.0  # rest is no part of a cycle's rate
        block[SEEN, c] = soc[c]
        moved = soc[c] - block[LAST, c]
        if abs(moved) >= SMALLEST:
            _move(chemistry[c], c, moved, block[WAITED, c], block)
            block[LAST, c], block[WAITED, c] = soc[c], 0.0
        soh[j] = max(1.0 - block[CAL, c] - block[CYC, c], 0.01)


@njit(cache=True, nogil=True)
def _calendar(chemistry: int, soc: float, kelvin: float, hours: float, age_h: float, lost: float) -> float:
    """Calendar loss after some more hours."""
    if chemistry == LFP:
        # Naumann 2018: k_ref 1.2571e-5 s^-0.5 at 298.15 K, Ea 17126 J/mol, 2.8575 (soc - 0.5)^3 + 0.60225.
        k = 1.2571e-5 * math.exp(-17126.0 / GAS * (1.0 / kelvin - 1.0 / 298.15))
        k *= 2.8575 * (soc - 0.5) ** 3 + 0.60225
        return float(k * math.sqrt((lost / k) ** 2 + hours * 3600.0))
    return float(lost + _alpha(soc, kelvin) * (((age_h + hours) / 24.0) ** 0.75 - (age_h / 24.0) ** 0.75))


@njit(cache=True, nogil=True)
def _alpha(soc: float, kelvin: float) -> float:
    """Schmalstieg 2014: (7.543 V - 23.75) 1e6 exp(-6976 / T), per day^0.75."""
    return float(max(7.543 * _ocv(soc) - 23.75, 0.0) * 1e6 * math.exp(-6976.0 / kelvin))


@njit(cache=True, nogil=True)
def _ocv(soc: float) -> float:
    """Open-circuit voltage of the NMC cell [V]."""
    at = min(max(soc, 0.0), 1.0) * 10.0
    k = min(int(at), 9)
    return float(NMC_OCV_V[k] + (NMC_OCV_V[k + 1] - NMC_OCV_V[k]) * (at - k))


@njit(cache=True, nogil=True)
def _cycle(chemistry: int, low: float, depth: float, hours: float, cycles: float, before: float, lost: float) -> float:
    """Cycle loss after ``cycles`` (0.5 or 1) cycles from ``low`` up to ``low + depth``, ``hours`` one way.

    ``before`` are the full equivalent cycles until then.
    """
    if chemistry == LFP:
        # Naumann 2020: (0.0630 C + 0.0971) (4.0253 (depth - 0.6)^3 + 1.0923) sqrt(full equivalent cycles), in percent.
        k = (0.0630 * depth / hours + 0.0971) * (4.0253 * (depth - 0.6) ** 3 + 1.0923) / 100.0
        return float(k * math.sqrt((lost / k) ** 2 + depth * cycles))
    # Schmalstieg 2014: 7.348e-3 (V - 3.667)^2 + 7.6e-4 + 4.081e-3 depth, per Ah^0.5 of throughput both ways.
    k = 7.348e-3 * (_ocv(low + depth / 2.0) - 3.667) ** 2 + 7.6e-4 + 4.081e-3 * depth
    per_cycle = 2.0 * NMC_AH
    return float(lost + k * (math.sqrt((before + depth * cycles) * per_cycle) - math.sqrt(before * per_cycle)))


@njit(cache=True, nogil=True)
def _move(chemistry: int, c: int, moved: float, hours: float, block: FloatArray) -> None:
    """Go on in the same direction, or turn: then the last extreme becomes a turning point and cycles may close."""
    rises = 1.0 if moved > 0.0 else -1.0
    if block[RISES, c] != 0.0 and rises != block[RISES, c]:
        n = int(block[COUNT, c])
        if n == DEPTH:
            _count(chemistry, c, 0, 0.5, block)
            _drop(c, 0, 1, block)
            n -= 1
        block[POINT + n, c], block[SPAN + n, c] = block[LAST, c], block[HOURS, c]
        block[COUNT, c], block[HOURS, c] = n + 1, 0.0
        _close(chemistry, c, block)
    block[RISES, c] = rises
    block[HOURS, c] += hours


@njit(cache=True, nogil=True)
def _close(chemistry: int, c: int, block: FloatArray) -> None:
    """Count and take away every range that the newest one encloses."""
    while block[COUNT, c] >= 3.0:
        n = int(block[COUNT, c])
        newest = abs(block[POINT + n - 1, c] - block[POINT + n - 2, c])
        before = abs(block[POINT + n - 2, c] - block[POINT + n - 3, c])
        if newest < before:
            return
        if n == 3:
            _count(chemistry, c, 0, 0.5, block)
            _drop(c, 0, 1, block)
        else:
            _count(chemistry, c, n - 3, 1.0, block)
            block[SPAN + n - 1, c] += block[SPAN + n - 3, c]
            _drop(c, n - 3, 2, block)


@njit(cache=True, nogil=True)
def _count(chemistry: int, c: int, k: int, cycles: float, block: FloatArray) -> None:
    """Age by the range from turning point k to the next one."""
    a, b = block[POINT + k, c], block[POINT + k + 1, c]
    depth, hours = abs(b - a), max(block[SPAN + k + 1, c], 1e-6)
    block[CYC, c] = _cycle(chemistry, min(a, b), depth, hours, cycles, block[FEC, c], block[CYC, c])
    block[FEC, c] += depth * cycles


@njit(cache=True, nogil=True)
def _drop(c: int, k: int, count: int, block: FloatArray) -> None:
    """Take turning points k … k + count - 1 off the stack."""
    n = int(block[COUNT, c])
    for i in range(k, n - count):
        block[POINT + i, c], block[SPAN + i, c] = block[POINT + i + count, c], block[SPAN + i + count, c]
    block[COUNT, c] = n - count


def full_cycles(block: FloatArray) -> npt.NDArray[np.float64]:
    """(m,) full equivalent cycles counted; what is still open on the stack is not among them."""
    return np.array(block[FEC])
