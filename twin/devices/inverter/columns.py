"""Where what stands: rows of a lane, columns of the table of settings, what comes out, and the codes of a status.

A *lane* is one inverter. Lanes lie in blocks of `W`, and a block is contiguous: row after row of `W` numbers. So the
kernels' inner loops have a fixed length and fixed distances, which is what makes them vectorise; and one block is read
and written as one stream. Lanes with the same settings (a *set*) fill blocks of their own, the last one with blanks.

A lane's rows stand in four arrays (`Lanes`), so that each part of a step goes through what it needs and no more: what is
asked at every look, what only a state machine knows, times, and marks. Times are whole ticks: exact over any number of
steps, and half as wide as a float.

Compiled kernels hold these numbers: see `compiled`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vpp.kernel.signals import FloatArray, Int32Array

W: Final = 64


class Lanes(NamedTuple):
    """The lanes of a fleet, blocks of rows, flat.

    Attributes:
        asked: what an inverter is asked with at every look.
        more: what those with a state machine are asked with besides, and what it remembers.
        ticks: its times.
        marks: its status and switches.
    """

    asked: FloatArray
    more: FloatArray
    ticks: Int32Array
    marks: npt.NDArray[np.int8]


def _offsets(count: int) -> tuple[np.uint64, ...]:
    """Where the rows of a block begin; unsigned, so that compiled indexing has no case for negative ones."""
    return tuple(np.uint64(W * row) for row in range(count))


# Asked at every look: voltage [pu], active power offered, and in its place what is wanted before volt-watt [MW],
# commanded reactive power [Mvar], nameplate and rated power [MVA, MW], lags of reactive power [of nameplate] and
# volt-watt [of rated].
V, P_WANT, Q_OFFER, S, PR, Q_LAG, P_LAG = _offsets(7)
# Asked with besides: the least power there is [MW], charging over rated power, followed reference [pu], power delivered last
# [MW, Mvar]. For the state machine: frequency [Hz], the most power there is [MW], limit, droop and where that began [of rated].
P_MIN, RATIO, VREF, P_OUT, Q_OUT, F, P_MAX, P_CAP, PF_LAG, PF_PRE = _offsets(10)
# Ticks: outside of voltage and frequency, above zero on the high and below zero on the low side; within the criteria of
# entering service; since the output was blocked or released; in service. And the device's own random number, of `LONGEST`.
T_V1, T_V2, T_F1, T_F2, T_ES, T_BLOCK, T_RAMP, WAIT = _offsets(8)
# Marks: status, 1 where commanded reactive power leads, 1 where service is permitted; droop (2 above, -2 below the
# deadband, 1 and -1 on the way back, 0 at rest).
STATUS, FOLLOWS, PERMIT, EVENT = _offsets(4)

# The rows by name, in the order of the arrays of `Lanes`, and what their numbers are.
ROWS: Final = (
    ("V", "P_WANT", "Q_OFFER", "S", "PR", "Q_LAG", "P_LAG"),
    ("P_MIN", "RATIO", "VREF", "P_OUT", "Q_OUT", "F", "P_MAX", "P_CAP", "PF_LAG", "PF_PRE"),
    ("T_V1", "T_V2", "T_F1", "T_F2", "T_ES", "T_BLOCK", "T_RAMP", "WAIT"),
    ("STATUS", "FOLLOWS", "PERMIT", "EVENT"),
)
PLACE: Final = {name: (part, k) for part, rows in enumerate(ROWS) for k, name in enumerate(rows)}
TYPES: Final[tuple[Any, ...]] = (np.float64, np.float64, np.int32, np.int8)
A_SIZE, M_SIZE, T_SIZE, K_SIZE = (np.uint64(W * len(rows)) for rows in ROWS)

PER_SECOND: Final = 1e4  # ticks
LONGEST: Final = 2.0**31 - 1.0  # where times end [ticks]: 60 hours

# What comes out: active and reactive power [MW, Mvar], how they answer to voltage, and the lags at the end of the step.
OUT: Final = 6
P, Q, P_BY_V, Q_BY_V, Q_LAGGED, P_LAGGED = _offsets(OUT)
OUT_SIZE: Final = np.uint64(OUT * W)

# Status of a lane (OpenDER's names); `CEASED` is added while the output is blocked.
TRIP, ENTERING, CONTINUOUS, MANDATORY, PERMISSIVE, CEASE, MOMENTARY, NOT_DEFINED = range(8)
CEASED: Final = 8
STATUSES: Final = (
    "Trip", "Entering Service", "Continuous Operation", "Mandatory Operation", "Permissive Operation", "Cease to Energize",
    "Momentary Cessation", "Not Defined",
)  # fmt: skip

# Columns of the table: a row for each set of settings that occurs.
# Volt-var: voltages, inverse widths, first power, differences; reference as set, 1 where it follows, its bounds.
QV, V1, W1, V2, W2, V3, W3, Q1, D1, D2, D3, VREF_SET, VREF_AUTO, VREF_MIN, VREF_MAX = range(15)
# Volt-watt: beginning, inverse width, power there, difference to the end, what of it is charging.
PV, U1, UW, P1, DP, P2_NEG = range(15, 21)
# Reactive power that does not depend on voltage: a constant; power factor (sign, beginning, inverse width, cosine, difference).
CONST_Q, KEEPS_Q, PF_SIGN, PF_P, PF_W, PF_COS, PF_D = range(21, 28)
# Watt-var: six powers ascending, five inverse widths, first reactive power, five differences.
X1, X2, X3, X4, X5, Y1, E1, E2, E3, E4, E5, XW1, XW2, XW3, XW4, XW5 = range(28, 44)
# Limits: capability injecting and absorbing, the same while charging, 1 where it falls at low power, priority, current.
CAP_INJ, CAP_ABS, CAP_INJ_C, CAP_ABS_C, LOW_P, PRIO_P, REQ_INJ, REQ_ABS, I_MAX = range(44, 53)
# Times of the lags: reactive power, volt-watt, droop, volt-var reference.
Q_T, PV_T, PF_T, VREF_T = range(53, 57)
# Droop: where it begins above and below, gains [pu/Hz], 1 where of momentary power. Limit, and its rate [pu/s].
F_OF, F_UF, G_OF, G_UF, MOM_OF, MOM_UF, AP_LIMIT, AP_RATE = range(57, 65)
# Enter service.
ES_V_LOW, ES_V_HIGH, ES_F_LOW, ES_F_HIGH, ES_DELAY, ES_RANDOM, ES_RATE = range(65, 72)
# Trips.
OV1, OV1_T, OV2, OV2_T, UV1, UV1_T, UV2, UV2_T, OF1, OF1_T, OF2, OF2_T, UF1, UF1_T, UF2, UF2_T = range(72, 88)
# Ride-through: where regions begin; response times; ramp [pu/s].
MAND_LOW, MAND_HIGH, PERM_LOW, PERM_HIGH, CEASE_LOW, CEASE_HIGH, MC_LOW, MC_HIGH = range(88, 96)
F_LOW, F_HIGH, F_LOWEST, F_HIGHEST, MC_RESP, MC_RETURN, CTE_RESP, RT_RATE = range(96, 104)
# What a set needs: looks at the voltage within the step; the state machine; reactive power by active power.
# PLAIN: none of this, and nothing but volt-var, volt-watt, a constant and the capability.
ACTIVE, EXPLICIT, BY_POWER, PLAIN = range(104, 108)
COLUMNS: Final = 108

BIG: Final = 1e300
FAR: Final = 1e9  # beyond any voltage, frequency or time
ES_DONE: Final = 1.1  # where the ramp of entering service ends; complete above 1
SETTLED: Final = 1e-3  # droop is over once its lag has come this close to normal power [pu]
