"""Where what stands: rows of a lane, columns of the table of settings, what comes out, and the codes of a status.

A *lane* is one inverter. Lanes lie in blocks of `W`, and a block is contiguous: row after row of `W` numbers. So the
kernels' inner loops have a fixed length and fixed distances, which is what makes them vectorise; and one block is read
and written as one stream. Lanes with the same settings (a *set*) fill blocks of their own, the last one with blanks.

Compiled kernels hold these numbers, and numba keeps them by the text of the kernel's own file: after a change here empty
the ``__pycache__`` of this folder and of `twin`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

W: Final = 64


def _offsets(first: int, last: int) -> tuple[np.uint64, ...]:
    """Where the rows first…last-1 of a block begin; unsigned, so that compiled indexing has no case for negative ones."""
    return tuple(np.uint64(W * row) for row in range(first, last))


# What an inverter without a state machine is asked with, at every look: voltage [pu], active power wanted before
# volt-watt [MW], commanded reactive power [Mvar], 1 where that leads, nameplate and rated power [MVA, MW], lags of
# reactive power [of nameplate] and volt-watt [of rated].
V, P_WANT, Q_OFFER, FOLLOWS, S, PR, Q_LAG, P_LAG = _offsets(0, 8)
# What the others are asked with as well: status, followed reference [pu], a bound on the magnitude of active power and
# the least there is [MW], charging over rated power.
STATUS, VREF, P_TOP, P_MIN, RATIO = _offsets(8, 13)
# What the state machine is given: frequency [Hz], active power offered and the most there is [MW], 1 where service is
# permitted, the device's own random number in 0…1.
F, P_OFFER, P_MAX, PERMIT, WAIT = _offsets(13, 18)
# Its times [s], above zero on the high and below zero on the low side.
T_V1, T_V2, T_F1, T_F2, T_ES, T_BLOCK = _offsets(18, 24)
# Its powers [of rated]: ramp of entering service, limit, droop and where that began, its event (1 above, -1 below the
# deadband, ±0.5 on the way back, 0 at rest), what was delivered last.
P_ES, P_CAP, PF_LAG, PF_PRE, PF_EVENT, P_OUT = _offsets(24, 30)
ROWS: Final = 30
SIZE: Final = np.uint64(ROWS * W)

# What comes out: active and reactive power [MW, Mvar], how they answer to voltage, and the lags at the end of the step.
P, Q, P_BY_V, Q_BY_V, Q_LAGGED, P_LAGGED = _offsets(0, 6)
OUT: Final = 6
OUT_SIZE: Final = np.uint64(OUT * W)
POWER_SIZE: Final = np.uint64(2 * W)  # the first two rows

# Status of a lane (OpenDER's names); `CEASED` is added while the output is blocked.
TRIP, ENTERING, CONTINUOUS, MANDATORY, PERMISSIVE, CEASE, MOMENTARY, NOT_DEFINED = map(float, range(8))
CEASED: Final = 8.0
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
