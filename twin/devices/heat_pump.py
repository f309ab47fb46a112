"""Heat pumps: hplib's performance, a building and its buffer as a thermal store, hot water, the comfort band as flexibility.

The building with its buffer is one thermal mass behind one loss coefficient: the mixing valve draws on the buffer as the
house cools, so that both are equally full. Its position in the comfort band is the state of charge: 0 at the lowest room
temperature, 1 at the highest. The equation is solved exactly over a step of any length. Hot water has a tank of its own
and goes first: where its sensor asks for heat, the pump serves it for a part of the step, at a higher flow temperature.

Whatever is asked, the pump keeps to minimum run and rest, and within them to the comfort band; ceasing to energise
(``connect``) is the exception. Left to itself it follows its own thermostat.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from twin.devices.entry import Columns, Entry, Places
from twin.devices.given import OverTime, refused, sources_of
from twin.devices.heat_pump_types import GENERIC, HeatPumpType, heat_pump_type
from twin.devices.machine import RESTED_S, allowed, by_device, choose, feasible_flow, held_after
from twin.devices.model import Ahead, DeviceModel, Offer, StepInput
from twin.series import Source, WeatherSeries
from twin.spec import FleetSpec
from vpp.fields import Flag, Fraction, MwhRating, MwMagnitude, Number, Ratio, Seconds, Where
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_LIMIT, _S_MODE, _S_CONNECT = (
    Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.connect.row,
)  # fmt: skip

# The model's own parameters, rows of a block. Powers in MW, energies in MWh, temperatures in °C.
PARAMETERS: Final = (
    "regulated", "air", "source_c", "p_ref", "pth_ref", "e1", "e2", "e3", "e4", "c1", "c2", "c3", "c4", "flow_c",
    "ua", "mass", "gain", "solar", "t_lo", "t_hi", "up_s", "down_s", "tank", "water_c", "tan_phi", "water_mw",
)  # fmt: skip
(
    REGULATED, AIR, SOURCE_C, P_REF, PTH_REF, E1, E2, E3, E4, C1, C2, C3, C4, FLOW_C,
    UA, MASS, GAIN, SOLAR, T_LO, T_HI, UP_S, DOWN_S, TANK, WATER_C, TAN_PHI, WATER_MW,
) = range(len(PARAMETERS))  # fmt: skip
# Rows of the memory: room temperature, water tank's content, 1 while the tank is being filled, time of run or rest, 1 while
# the thermostat calls for heat; of the step being offered: power, heat into the house and into the tank.
ROOM_C, WATER, FILLS, HELD_S, CALLS, P_OFFERED, HEAT, WATER_HEAT = range(8)
ROWS: Final = 8
HYSTERESIS: Final = 0.2  # of the comfort band, either side of its middle
WATER_LOW: Final = 0.3  # of the tank, where filling begins
LITRE_MWH: Final = 1.163e-6  # MWh per litre of water and kelvin
# Assumed day of hot water: a third in the morning, a sixth at noon, half in the evening; of the daily mean.
WATER_DAY: Final = (0.0,) * 6 + (2.0, 4.0, 2.0) + (0.0,) * 3 + (2.0, 2.0) + (0.0,) * 4 + (3.0, 4.0, 3.0, 2.0) + (0.0,) * 2


class HeatPumpEntry(Entry):
    """Heat pumps with the houses that they heat."""

    by_itself: ClassVar[bool] = True

    kind: Literal["heat_pump"]
    model: str = Field(GENERIC, description="model name in hplib's database, or Generic; a named one brings its own p_mw")
    group: Annotated[int, Field(strict=True, ge=1, le=6)] = Field(
        1, description="of a generic one: 1 air, 2 brine, 3 water, regulated; 4, 5, 6 the same, on and off"
    )
    ambient_c: OverTime | None = Field(
        None, description="ambient temperature [°C]: a number, a day, file:<csv>; default: weather"
    )
    source_c: Number | None = Field(None, description="temperature of brine or water [°C]; default 0 or 10; air: ambient")
    flow_c: Number = Field(40.0, description="flow temperature at -10 °C outside; falls to 25 °C in mild weather [°C]")
    comfort_c: tuple[Number, Number] = Field((20.0, 22.0), description="lowest and highest room temperature [°C]")
    room_c: Number | None = Field(None, description="room temperature at the start [°C]; default: the middle of comfort_c")
    loss_mw_per_k: MwMagnitude | None = Field(
        None, description="heat loss of the house per kelvin [MW/K]; default: the pump just heats it at -10 °C"
    )
    mass_mwh_per_k: MwhRating | None = Field(None, description="thermal mass of the house [MWh/K]; default: 60 h of its loss")
    gain_mw: MwMagnitude = Field(0.0, description="heat from people and appliances [MW]")
    solar_m2: Ratio = Field(0.0, description="window area that catches all global radiation; needs weather [m²]")
    buffer_l: Ratio = Field(0.0, description="buffer tank [l]")
    buffer_k: Ratio = Field(10.0, description="how far the buffer's temperature may swing [K]")
    water_mwh_per_day: Ratio = Field(0.0, description="heat for hot water a day [MWh]")
    tank_l: Ratio = Field(300.0, description="hot water tank, which may cool by 10 K [l]")
    water_c: Number = Field(55.0, description="flow temperature for hot water [°C]")
    min_up_s: Seconds = Field(600.0, description="shortest run of the compressor [s]")
    min_down_s: Seconds = Field(600.0, description="shortest rest of the compressor [s]")
    power_factor: Fraction = Field(1.0, description="cos φ, inductive [1]")
    controllable: Flag = Field(True, description="false: runs by its own thermostat, controllers only see it")

    @property
    def type(self) -> HeatPumpType:
        """What hplib knows of it; KeyError where it knows nothing."""
        return heat_pump_type(self.model, self.group)

    @property
    def needs_weather(self) -> bool:
        """Without a temperature of its own, or with windows."""
        return self.ambient_c is None or self.solar_m2 > 0

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A type that exists, a comfort band with a width, and a rating from one place."""
        if self.model == GENERIC:
            yield from super().contradictions()
        elif self.p_mw is not None:
            yield ("p_mw",), f"p_mw is the model's own where one is named ({self.model}); use scale"
        try:
            _ = self.type
        except KeyError as error:
            yield ("model",), str(error.args[0])
        if self.comfort_c[0] >= self.comfort_c[1]:
            yield ("comfort_c",), f"turned band: {self.comfort_c[0]:g} °C is not below {self.comfort_c[1]:g} °C"
        elif self.room_c is not None and not self.comfort_c[0] <= self.room_c <= self.comfort_c[1]:
            yield ("room_c",), f"room_c is outside comfort_c ({self.comfort_c[0]:g}…{self.comfort_c[1]:g} °C)"
        for key in ("flow_c", "water_c"):
            if not 25 <= getattr(self, key) <= 75:
                yield (key,), f"{key} is a flow temperature, 25…75 °C"
        if self.loss_mw_per_k == 0:
            yield ("loss_mw_per_k",), "loss_mw_per_k must be more than 0"
        if self.water_mwh_per_day > 0 and self.tank_l == 0:
            yield ("tank_l",), "hot water needs a tank"
        if self.power_factor == 0:
            yield ("power_factor",), "power_factor must be more than 0"
        yield from refused("ambient_c", self.ambient_c, lambda c: -60 <= c <= 60, "an ambient temperature lies in -60…60 °C")

    def rating(self, places: Places) -> FloatArray:
        """Electrical power at hplib's reference point."""
        return places.factor * (self.type.p_el_mw if self.p_mw is None else self.p_mw)

    def lay_out(self, places: Places) -> Columns:
        """Consumption that follows; the store is heat."""
        m, own = places.m, self._own(places)
        par = by_device([own[name] for name in PARAMETERS])
        cold, low, most = np.full(m, -10.0), np.empty((4, m)), np.zeros(m)
        _all(par, cold, _flow(par, cold), low)
        pth = low[2] * low[3]
        middle = sum(self.comfort_c) / 2
        own["ua"] = places.factor * self.loss_mw_per_k if self.loss_mw_per_k is not None else pth / (middle + 10.0)
        mass = places.factor * self.mass_mwh_per_k if self.mass_mwh_per_k is not None else 60.0 * own["ua"]
        own["mass"] = mass + self.buffer_l * LITRE_MWH * self.buffer_k / (self.comfort_c[1] - self.comfort_c[0])
        for outside in range(-20, 21):
            for flow in (_flow(par, np.full(m, float(outside))), par[WATER_C]):
                out = np.empty((4, m))
                _all(par, np.full(m, float(outside)), flow, out)
                most = np.maximum(most, out[2])
        columns = Columns.consuming(most)
        columns.control = np.full(m, CONTROL_FOLLOW if self.controllable else CONTROL_NONE)
        columns.p_gap_mw = low[0] if self.controllable else np.zeros(m)
        columns.e_mwh = own["mass"] * (self.comfort_c[1] - self.comfort_c[0]) * float(self.controllable)
        start = middle if self.room_c is None else self.room_c
        columns.soc = np.full(m, (start - self.comfort_c[0]) / (self.comfort_c[1] - self.comfort_c[0]))
        columns.eff_charge = _cop_of_season(par)
        columns.own = own
        columns.series = {"ambient": sources_of(self.ambient_c, places, "temp_c")}
        sun: list[Source | None] = [WeatherSeries("ghi_w_m2", int(cell)) for cell in places.cell]
        columns.series["sun"] = sun if self.solar_m2 > 0 else [None] * m
        columns.series["draw"] = sources_of(WATER_DAY, places) if self.water_mwh_per_day > 0 else [None] * m
        return columns

    def _own(self, places: Places) -> dict[str, npt.NDArray[np.float64]]:
        """The model's own parameters; losses and mass are filled in later."""
        kind, rating = self.type, self.rating(places)
        source = self.source_c if self.source_c is not None else (0.0 if kind.group in (2, 5) else 10.0)
        plain = {
            "regulated": float(kind.regulated) * (2.0 if kind.group == 3 else 1.0), "air": float(kind.air), "source_c": source,
            **dict(zip(("e1", "e2", "e3", "e4"), kind.el)), **dict(zip(("c1", "c2", "c3", "c4"), kind.cop)),
            "flow_c": self.flow_c, "ua": 0.0, "mass": 0.0, "solar": self.solar_m2 * 1e-6, "t_lo": self.comfort_c[0],
            "t_hi": self.comfort_c[1], "up_s": self.min_up_s, "down_s": self.min_down_s, "tank": self.tank_l * LITRE_MWH * 10.0,
            "water_c": self.water_c, "tan_phi": math.tan(math.acos(self.power_factor)),
            "water_mw": self.water_mwh_per_day / 24,
        }  # fmt: skip
        own = {name: np.full(places.m, value) for name, value in plain.items()}
        own |= {"p_ref": rating, "pth_ref": rating * kind.p_th_per_el, "gain": places.factor * self.gain_mw}
        own["water_mw"] = own["water_mw"] * places.factor
        own["tank"] = own["tank"] * places.factor
        return own


class HeatPump(DeviceModel):
    """Heat pumps: consumption negative."""

    kind: ClassVar[str] = "heat_pump"
    entry: ClassVar[type[Entry]] = HeatPumpEntry

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Begin with rooms at the stated temperature and full hot-water tanks."""
        super().__init__(at, spec)
        self.par = by_device([self.own[name] for name in PARAMETERS])
        state = np.zeros((ROWS, at.size), order="F")
        state[ROOM_C] = self.par[T_LO] + spec.soc0[at] * (self.par[T_HI] - self.par[T_LO])
        state[WATER], state[HELD_S] = self.par[TANK], RESTED_S
        self.memory = {"state": state}
        # Columns of ambient temperature, sun and hot water in the profile, (3, m); -1 for none.
        self.follows = np.stack([self.own[role] for role in ("ambient", "sun", "draw")])

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Hot water first, then the house: as asked inside minimum times and comfort, else by the thermostat."""
        state, profile = self.memory["state"], given.profile
        _offer(self.at, self.par, state, self.follows, profile, given.dt_s, given.applied, given.soc, out)

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Heat what was delivered into house and tank, and take what was lost and drawn."""
        _settle(self.at, self.par, self.memory["state"], self.follows, given.profile, given.dt_s, p_mw, given.soc)

    def _around(self, profile: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(steps, m) ambient temperature [°C], heat gains of the house [MW], hot water drawn [MW]."""
        wide = np.concatenate([profile, np.zeros((len(profile), 1), np.float32)], axis=1).astype(np.float64)
        ambient, sun, draw = (wide[:, column] for column in self.follows)
        return ambient, self.par[GAIN] + self.par[SOLAR] * sun, self.par[WATER_MW] * draw

    def _needs(self, profile: npt.NDArray[np.float32], room_c: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(steps, m) heat that the house loses [MW] at this room temperature, hot water [MW], and (steps, 4, m) performance."""
        outside, gain, draw = self._around(profile)
        able = np.empty((len(profile), 4, self.at.size))
        for t in range(len(profile)):
            _all(self.par, outside[t], _flow(self.par, outside[t]), able[t])
        return np.maximum(self.par[UA] * (room_c - outside) - gain, 0.0), draw, able

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """What keeps the middle of the comfort band; nothing where it is led."""
        heat, draw, able = self._needs(profile, (self.par[T_LO] + self.par[T_HI]) / 2)
        led = self.spec.fleet.control[self.at] == CONTROL_FOLLOW
        return np.where(led, 0.0, -np.minimum((heat + draw) / able[:, 3], able[:, 2]))

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """Power by temperature, the house's heat loss and its hot water as a flow, COP as efficiency."""
        at = self.at[self.spec.fleet.control[self.at] == CONTROL_FOLLOW]
        mine = np.isin(self.at, at)
        e_mwh = self.spec.fleet.e_mwh[at]
        room = self.par[T_LO] + flex.e_start_mwh[self.at] / self.par[MASS]
        heat, draw, able = (x[..., mine] for x in self._needs(ahead.profile, room))
        hours = ahead.step_s / 3600.0
        most = able[:, 2] * able[:, 3] * hours
        # Seen from the full side heat that is lost is an inflow of room; what the pump could never make good is left out.
        flow = feasible_flow((heat + draw) * hours, e_mwh - flex.e_start_mwh[at], e_mwh, most)
        flex.p_lo_mw[:, at], flex.p_hi_mw[:, at] = -able[:, 2], 0.0
        flex.e_flow_mwh[:, at], flex.eff_in[:, at] = -flow, able[:, 3]


def _flow(par: FloatArray, outside_c: FloatArray) -> FloatArray:
    """Flow temperature by the heating curve: straight from ``flow_c`` at -10 °C to 20 °C at 20 °C, never below 25 °C."""
    return np.asarray(np.clip(20.0 + (par[FLOW_C] - 20.0) * (20.0 - outside_c) / 30.0, 25.0, par[FLOW_C]))


def _cop_of_season(par: FloatArray) -> FloatArray:
    """COP at 2 °C outside, which stands for the season where one number is asked for."""
    out, outside = np.empty((4, par.shape[1])), np.full(par.shape[1], 2.0)
    _all(par, outside, _flow(par, outside), out)
    return np.asarray(out[3])


@njit(cache=True, nogil=True)
def _performance(par: FloatArray, j: int, outside: float, flow: float) -> tuple[float, float, float, float]:
    """Electrical power at least, by hplib's own operation and at most [MW], and COP (`hplib.simulate`, heating)."""
    source = outside if par[AIR, j] > 0.0 else par[SOURCE_C, j]
    cop = par[C1, j] * source + par[C2, j] * flow + par[C3, j] + par[C4, j] * outside
    run = par[P_REF, j] * (par[E1, j] * source + par[E2, j] * flow + par[E3, j] + par[E4, j] * outside)
    if cop <= 1.0:  # the heating rod alone
        return par[PTH_REF, j], par[PTH_REF, j], par[PTH_REF, j], 1.0
    if par[REGULATED, j] == 0.0:
        run = max(run, 1e-9)
        return run, run, run, cop
    cold = outside if par[REGULATED, j] == 2.0 else -7.0
    source = -7.0 if par[AIR, j] > 0.0 else source
    at_7 = par[E1, j] * source + par[E2, j] * flow + par[E3, j] + par[E4, j] * cold
    least = max(0.25 * par[P_REF, j] * at_7, 1e-9)
    run = max(run, least)
    return least, run, max(run, par[P_REF, j]), cop


@njit(cache=True, nogil=True)
def _all(par: FloatArray, outside: FloatArray, flow: FloatArray, out: FloatArray) -> None:
    """Least, own and most power and COP of all, (4, m)."""
    for j in range(outside.size):
        out[0, j], out[1, j], out[2, j], out[3, j] = _performance(par, j, outside[j], flow[j])


@njit(cache=True, nogil=True)
def _at(profile: npt.NDArray[np.float32], column: int) -> float:
    """Value of a column; 0 where it is none."""
    return float(profile[column]) if column >= 0 else 0.0


@njit(cache=True, nogil=True)
def _thermostat(par: FloatArray, mem: FloatArray, j: int, to_middle: float, run: float) -> float:
    """Power that the pump's own control wants: on below, off above its hysteresis; regulated ones aim at its middle."""
    into = (mem[ROOM_C, j] - par[T_LO, j]) / (par[T_HI, j] - par[T_LO, j]) - 0.5
    if into <= -HYSTERESIS:
        mem[CALLS, j] = 1.0
    elif into >= HYSTERESIS:
        mem[CALLS, j] = 0.0
    return float((max(to_middle, 0.0) if par[REGULATED, j] > 0.0 else run) * mem[CALLS, j])


@njit(cache=True, nogil=True)
def _water(par: FloatArray, mem: FloatArray, j: int, outside: float, draw: float, dt_s: float) -> tuple[float, float, float]:
    """Part of the step that hot water takes, at the power of hplib's own operation; that power and its COP."""
    if par[WATER_MW, j] == 0.0:
        return 0.0, 0.0, 1.0
    tank = mem[WATER, j] - draw * dt_s / 3600.0
    if tank < WATER_LOW * par[TANK, j]:
        mem[FILLS, j] = 1.0
    if mem[FILLS, j] == 0.0 or (mem[HELD_S, j] < 0.0 and -mem[HELD_S, j] < par[DOWN_S, j]):
        return 0.0, 0.0, 1.0  # a resting compressor heats no water either
    _, p, _, cop = _performance(par, j, outside, par[WATER_C, j])
    return min(max(par[TANK, j] - tank, 0.0) * 3600.0 / (p * cop * dt_s), 1.0), p, cop


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, par: FloatArray, mem: FloatArray, follows: IntArray, profile: npt.NDArray[np.float32], dt_s: float,
    applied: FloatArray, soc: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        on, room, ua = applied[_S_CONNECT, i], mem[ROOM_C, j], par[UA, j]
        outside = _at(profile, follows[0, j])
        gain = par[GAIN, j] + par[SOLAR, j] * _at(profile, follows[1, j])
        part, p_w, cop_w = _water(par, mem, j, outside, par[WATER_MW, j] * _at(profile, follows[2, j]), dt_s)
        share, water = 1.0 - part, part * p_w
        flow = min(max(20.0 + (par[FLOW_C, j] - 20.0) * (20.0 - outside) / 30.0, 25.0), par[FLOW_C, j])
        least, run, high, cop = _performance(par, j, outside, flow)
        least, high = least * share, high * share
        # Constant powers that take the room to the ends and the middle of its band in this step; the equation is linear.
        keeps = math.exp(-dt_s / 3600.0 * ua / par[MASS, j])
        floor = (ua * ((par[T_LO, j] - room * keeps) / (1.0 - keeps) - outside) - gain) / cop
        top = floor + ua * (par[T_HI, j] - par[T_LO, j]) / ((1.0 - keeps) * cop)
        want = _thermostat(par, mem, j, 0.5 * (floor + top), run)
        if applied[_S_MODE, i] == FOLLOW:
            want = -applied[_S_P, i] - water
        elif applied[_S_MODE, i] == LIMIT:
            want = max(want, -applied[_S_LIMIT, i] - water)
        needs = min(max(floor, least), high) if floor > 0.0 else 0.0
        bears = min(max(top, 0.0), high)
        must, most = allowed(mem[HELD_S, j], par[UP_S, j], par[DOWN_S, j], needs, least, bears, dt_s)
        p = choose(want, must, least, most) * on
        must, most, water = must * on, most * on, water * on
        mem[HEAT, j], mem[WATER_HEAT, j], mem[P_OFFERED, j] = p * cop, water * cop_w, p + water
        out[_P, i], out[_Q, i], out[_FOLLOW, i] = 0.0 - p - water, 0.0 - (p + water) * par[TAN_PHI, j], 1.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = 0.0 - most - water, 0.0 - must - water, soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, par: FloatArray, mem: FloatArray, follows: IntArray, profile: npt.NDArray[np.float32], dt_s: float,
    p_mw: FloatArray, soc: FloatArray,
) -> None:  # fmt: skip
    hours = dt_s / 3600.0
    for j in range(at.size):
        i = at[j]
        p = max(-p_mw[i], 0.0)
        part = p / mem[P_OFFERED, j] if mem[P_OFFERED, j] > 0.0 else 0.0
        gain = par[GAIN, j] + par[SOLAR, j] * _at(profile, follows[1, j])
        keeps = math.exp(-hours * par[UA, j] / par[MASS, j])
        goes_to = _at(profile, follows[0, j]) + (part * mem[HEAT, j] + gain) / par[UA, j]
        mem[ROOM_C, j] = goes_to + (mem[ROOM_C, j] - goes_to) * keeps
        if par[WATER_MW, j] > 0.0:
            draw = par[WATER_MW, j] * _at(profile, follows[2, j])
            mem[WATER, j] = min(max(mem[WATER, j] + (part * mem[WATER_HEAT, j] - draw) * hours, 0.0), par[TANK, j])
            mem[FILLS, j] = 0.0 if mem[WATER, j] >= 0.999 * par[TANK, j] else mem[FILLS, j]
        mem[HELD_S, j] = held_after(mem[HELD_S, j], p > 1e-12, dt_s)
        soc[i] = min(max((mem[ROOM_C, j] - par[T_LO, j]) / (par[T_HI, j] - par[T_LO, j]), 0.0), 1.0)
