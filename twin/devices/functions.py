"""The inverter's own functions as a scenario states them, and the settings that this becomes.

A grid code brings defaults and switches trips, ride-through and enter service on; every other function is off until it
is stated, "on" meaning the code's own values (without a code those of IEEE 1547-2018, category B), or with values of
one's own. Frequencies are at the scenario's nominal frequency.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from twin.devices.curves import VOLT_VAR, VoltVar, VoltVarChoice, VoltWatt, VoltWattChoice
from twin.devices.inverter.grid_code import GridCode, GridCodeError, load_code
from vpp.fields import Fraction, Hertz, Number, Part, Pu, Ratio, Seconds, Where, bad, by_shape
from vpp.kernel.settings import Settings

DEFAULT_CODE = "ieee1547-2018"
# Of a code's values, what only a stated code switches on.
_WITH_A_CODE = ("trip_enable", "es_enable", "rt_category", "mc_enable")
_OnOff = Literal["off", "on"]
Border = tuple[Pu, Seconds]
FrequencyBorder = tuple[Hertz, Seconds]


def _known_code(name: str) -> str:
    try:
        load_code(name)
    except GridCodeError as error:
        raise bad(str(error)) from None
    return name


CodeName = Annotated[str, AfterValidator(_known_code)]


class GridCodeRef(Part):
    """A grid code and the category within it."""

    code: CodeName = Field(description="name of a grid code: ieee1547-2018, vde-ar-n-4105-2018-11, vde-ar-n-4110, en50549-1-2019")
    category: str | None = Field(None, description="IEEE 1547: A or B; VDE-AR-N 4105: small or large; default: the code's own")
    ride_through: str | None = Field(None, description="IEEE 1547: I, II or III; default: the code's own")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The category exists."""
        for key in ("category", "ride_through"):
            try:
                load_code(self.code, **{key: getattr(self, key)})
            except GridCodeError as error:
                yield (key,), str(error)

    def load(self) -> GridCode:
        """The code's values."""
        return load_code(self.code, self.category, self.ride_through)


class ConstantPf(Part):
    """Constant power factor (IEEE 1547-2018, 5.3.2)."""

    pf: Fraction = Field(description="power factor [1]")
    excitation: Literal["injects", "absorbs"] = Field("absorbs", description="which way, while active power is injected")
    response_s: Seconds = Field(5.0, description="response time to 90 % [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Without active power there is no power factor."""
        if self.pf < 0.1:
            yield ("pf",), "pf must be at least 0.1"


class PfByPower(Part):
    """Power factor by active power, cos phi (P) of EN 50549 and VDE-AR-N: two points, straight in between."""

    p_pu: tuple[Fraction, Fraction] = Field((0.5, 1.0), description="active power of the two points, of rated [pu]")
    pf: tuple[Fraction, Fraction] = Field((1.0, 0.9), description="power factor there [1]")
    excitation: Literal["injects", "absorbs"] = Field("absorbs", description="which way, while active power is injected")
    response_s: Seconds = Field(10.0, description="response time to 90 % [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The points ascend, and there is a power factor everywhere."""
        if self.p_pu[0] >= self.p_pu[1]:
            yield ("p_pu",), "the second power must be above the first"
        if min(self.pf) < 0.1:
            yield ("pf",), "power factors must be at least 0.1"


class ConstantQ(Part):
    """Constant reactive power (IEEE 1547-2018, 5.3.5)."""

    q_pu: Number = Field(description="reactive power, of nameplate, injection positive [pu]")
    response_s: Seconds = Field(5.0, description="response time to 90 % [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Inside the nameplate."""
        if abs(self.q_pu) > 1:
            yield ("q_pu",), "reactive power is in pu of the nameplate, -1…1"


class WattVar(Part):
    """Reactive power by active power, three points on each side (IEEE 1547-2018, 5.3.4)."""

    p_pu: tuple[Fraction, Fraction, Fraction] = Field(description="injected active power of the points, ascending, of rated [pu]")
    q_pu: tuple[Number, Number, Number] = Field(description="reactive power there, of nameplate, injection positive [pu]")
    p_charge_pu: tuple[Fraction, Fraction, Fraction] = Field(
        (0.2, 0.5, 1.0), description="the same while charging, magnitudes [pu]"
    )
    q_charge_pu: tuple[Number, Number, Number] = Field((0.0, 0.0, 0.0), description="reactive power there [pu]")
    response_s: Seconds = Field(5.0, description="response time to 90 % [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Powers ascend, and reactive power stays inside the nameplate."""
        for key in ("p_pu", "p_charge_pu"):
            if list(getattr(self, key)) != sorted(getattr(self, key)):
                yield (key,), "the powers must ascend"
        for key in ("q_pu", "q_charge_pu"):
            if max(map(abs, getattr(self, key))) > 1:
                yield (key,), "reactive power is in pu of the nameplate, -1…1"


class Droop(Part):
    """Active power by frequency (IEEE 1547-2018, 6.5.2.7; LFSM of EN 50549 and VDE-AR-N)."""

    over_hz: Hertz = Field(0.03, description="deadband above nominal frequency [Hz]")
    under_hz: Hertz = Field(0.03, description="deadband below nominal frequency [Hz]")
    over_droop: Ratio = Field(0.05, description="pu of frequency for 1 pu of power, above [1]")
    under_droop: Ratio = Field(0.05, description="the same below [1]")
    response_s: Seconds = Field(5.0, description="open-loop response time to 90 % [s]")
    basis: Literal["rated", "momentary"] = Field("rated", description="power that the droop above nominal is of")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A droop of nothing is a step."""
        for key in ("over_droop", "under_droop"):
            if getattr(self, key) == 0:
                yield (key,), f"{key} must be more than 0"


class PowerLimit(Part):
    """A standing limit of active power (IEEE 1547-2018, 4.6.2)."""

    p_pu: Number = Field(description="limit, of rated power [pu]")
    ramp_s: Seconds = Field(15.0, description="time in which the limit moves by 1 pu [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Inside the rating."""
        if not -1 <= self.p_pu <= 1:
            yield ("p_pu",), "the limit is in pu of rated power, -1…1"


class Trips(Part):
    """Borders of voltage [pu] and frequency [Hz], each with its time [s]; what is not stated is the code's."""

    ov1: Border | None = Field(None, description="overvoltage 1 [pu, s]")
    ov2: Border | None = Field(None, description="overvoltage 2 [pu, s]")
    uv1: Border | None = Field(None, description="undervoltage 1 [pu, s]")
    uv2: Border | None = Field(None, description="undervoltage 2 [pu, s]")
    of1: FrequencyBorder | None = Field(None, description="overfrequency 1 [Hz, s]")
    of2: FrequencyBorder | None = Field(None, description="overfrequency 2 [Hz, s]")
    uf1: FrequencyBorder | None = Field(None, description="underfrequency 1 [Hz, s]")
    uf2: FrequencyBorder | None = Field(None, description="underfrequency 2 [Hz, s]")


class EnterService(Part):
    """When a device may begin, and how (IEEE 1547-2018, 4.10); what is not stated is the code's."""

    v_pu: tuple[Pu, Pu] | None = Field(None, description="lowest and highest voltage [pu]")
    f_hz: tuple[Hertz, Hertz] | None = Field(None, description="lowest and highest frequency [Hz]")
    delay_s: Seconds | None = Field(None, description="time for which both must hold [s]")
    randomised_delay_s: Seconds | None = Field(None, description="largest further delay, by the seed [s]")
    ramp_s: Seconds | None = Field(None, description="time from nothing to rated power [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Windows open upwards."""
        for key in ("v_pu", "f_hz"):
            window = getattr(self, key)
            if window is not None and window[0] >= window[1]:
                yield (key,), "the highest must be above the lowest"


GridCodeChoice = Annotated[Annotated[CodeName, Tag("text")] | Annotated[GridCodeRef, Tag("mapping")], Discriminator(by_shape)]
WattVarChoice = Annotated[Annotated[_OnOff, Tag("text")] | Annotated[WattVar, Tag("mapping")], Discriminator(by_shape)]
PfByPowerChoice = Annotated[Annotated[_OnOff, Tag("text")] | Annotated[PfByPower, Tag("mapping")], Discriminator(by_shape)]
DroopChoice = Annotated[Annotated[_OnOff, Tag("text")] | Annotated[Droop, Tag("mapping")], Discriminator(by_shape)]
TripsChoice = Annotated[Annotated[_OnOff, Tag("text")] | Annotated[Trips, Tag("mapping")], Discriminator(by_shape)]
ServiceChoice = Annotated[Annotated[_OnOff, Tag("text")] | Annotated[EnterService, Tag("mapping")], Discriminator(by_shape)]


class Functions(Part):
    """What an inverter does by itself."""

    grid_code: GridCodeChoice | None = Field(
        None,
        description="a grid code's name, or {code, category, ride_through}: its defaults, trips, ride-through, enter service",
    )
    volt_var: VoltVarChoice = Field(
        "off", description="off, on (the grid code's), A or B (IEEE 1547-2018 categories), or a curve"
    )
    volt_watt: VoltWattChoice = Field("off", description="off, on (the grid code's), or a curve")
    watt_var: WattVarChoice = Field("off", description="off, on (the grid code's), or points")
    constant_pf: ConstantPf | None = Field(None, description="constant power factor; default: none")
    pf_by_power: PfByPowerChoice = Field("off", description="off, on (the grid code's), or points: cos phi (P)")
    constant_q: ConstantQ | None = Field(None, description="constant reactive power; default: none")
    droop: DroopChoice = Field("off", description="off, on (the grid code's), or deadbands and droops")
    limit: PowerLimit | None = Field(None, description="a standing limit of active power; default: none")
    trips: TripsChoice | None = Field(None, description="off, on, or borders; default: on with a grid code, else off")
    enter_service: ServiceChoice | None = Field(
        None, description="off, on, or conditions; default: on with a grid code, else off"
    )
    priority: Literal["reactive", "active"] = Field("reactive", description="which power is kept where the nameplate binds")
    current_pu: Ratio | None = Field(None, description="largest current, of nameplate [pu]; default: no limit of its own")
    execution_delay_s: Seconds = Field(0.0, description="time from receiving settings to acting by them [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """One function leads reactive power."""
        yield from super().contradictions()
        leads = [key for key in ("volt_var", "watt_var", "pf_by_power") if getattr(self, key) != "off"]
        leads += [key for key in ("constant_pf", "constant_q") if getattr(self, key) is not None]
        if len(leads) > 1:
            yield (leads[-1],), f"only one function can lead reactive power: {' or '.join(leads)}"
        if self.current_pu == 0:
            yield ("current_pu",), "current_pu must be more than 0"

    def code(self) -> GridCode | None:
        """The stated grid code, at its own nominal frequency; None where none is stated."""
        if self.grid_code is None:
            return None
        return self.grid_code.load() if isinstance(self.grid_code, GridCodeRef) else load_code(self.grid_code)

    def fill(self, settings: Settings, nominal_hz: float) -> None:
        """Write the settings of every column."""
        stated = self.code()
        values = dict((stated or load_code(DEFAULT_CODE)).at(nominal_hz).values)
        if stated is None:
            values |= dict.fromkeys(_WITH_A_CODE, 0.0)
        values |= _reactive(self) | _active(self) | _service(self)
        values |= {"np_prio_active": float(self.priority == "active"), "set_exe_time_s": self.execution_delay_s}
        values["np_current_pu"] = self.current_pu or 0.0
        for name, value in values.items():
            getattr(settings, name)[:] = value


def _excitation(word: str) -> float:
    return 1.0 if word == "injects" else -1.0


def _reactive(f: Functions) -> dict[str, float]:
    """Who leads reactive power, and by what."""
    values = {"qv_enable": float(f.volt_var != "off"), "qp_enable": float(f.watt_var != "off")}
    values |= {"pfp_enable": float(f.pf_by_power != "off"), "const_pf_enable": float(f.constant_pf is not None)}
    values["const_q_enable"] = float(f.constant_q is not None)
    curve = f.volt_var if isinstance(f.volt_var, VoltVar) else VOLT_VAR.get(f.volt_var)
    if curve is not None:
        values |= {f"qv_v{k}_pu": v for k, v in enumerate(curve.v_pu, 1)} | {
            f"qv_q{k}_pu": q for k, q in enumerate(curve.q_pu, 1)
        }
        values |= {
            "qv_olrt_s": curve.response_s,
            "qv_vref_pu": curve.reference_pu,
            "qv_vref_auto": float(curve.follow_s is not None),
        }
        values |= {} if curve.follow_s is None else {"qv_vref_time_s": curve.follow_s}
    if isinstance(f.watt_var, WattVar):
        w = f.watt_var
        for k in range(3):
            values |= {f"qp_p{k + 1}_gen_pu": w.p_pu[k], f"qp_q{k + 1}_gen_pu": w.q_pu[k]}
            values |= {f"qp_p{k + 1}_load_pu": -w.p_charge_pu[k], f"qp_q{k + 1}_load_pu": w.q_charge_pu[k]}
        values["qp_rt_s"] = w.response_s
    if isinstance(f.pf_by_power, PfByPower):
        c = f.pf_by_power
        values |= {"pfp_p1_pu": c.p_pu[0], "pfp_p2_pu": c.p_pu[1], "pfp_pf1": c.pf[0], "pfp_pf2": c.pf[1]}
        values |= {"const_pf_excitation": _excitation(c.excitation), "const_pf_rt_s": c.response_s}
    elif f.pf_by_power == "on":
        values["const_pf_excitation"] = -1.0
    if f.constant_pf is not None:
        values |= {"const_pf": f.constant_pf.pf, "const_pf_excitation": _excitation(f.constant_pf.excitation)}
        values["const_pf_rt_s"] = f.constant_pf.response_s
    if f.constant_q is not None:
        values |= {"const_q_pu": f.constant_q.q_pu, "const_q_rt_s": f.constant_q.response_s}
    return values


def _active(f: Functions) -> dict[str, float]:
    """Volt-watt, droop, limit."""
    values = {"pv_enable": float(f.volt_watt != "off"), "pf_enable": float(f.droop != "off")}
    values["ap_limit_enable"] = float(f.limit is not None)
    if isinstance(f.volt_watt, VoltWatt):
        w = f.volt_watt
        values |= {"pv_v1_pu": w.v_pu[0], "pv_v2_pu": w.v_pu[1], "pv_p1_pu": w.p_pu[0], "pv_p2_pu": w.p_pu[1]}
        values["pv_olrt_s"] = w.response_s
    if isinstance(f.droop, Droop):
        d = f.droop
        values |= {"pf_dbof_hz": d.over_hz, "pf_dbuf_hz": d.under_hz, "pf_kof": d.over_droop, "pf_kuf": d.under_droop}
        values |= {"pf_olrt_s": d.response_s, "pf_basis_of": float(d.basis == "momentary"), "pf_basis_uf": 0.0}
    if f.limit is not None:
        values |= {"ap_limit_pu": f.limit.p_pu, "ap_rt_s": f.limit.ramp_s}
    return values


def _service(f: Functions) -> dict[str, float]:
    """Trips and enter service, where they are stated."""
    values: dict[str, float] = {}
    if f.trips is not None:
        values["trip_enable"] = float(f.trips != "off")
    if f.enter_service is not None:
        values["es_enable"] = float(f.enter_service != "off")
    if isinstance(f.trips, Trips):
        for key, unit in (
            *((k, "v_pu") for k in ("ov1", "ov2", "uv1", "uv2")),
            *((k, "f_hz") for k in ("of1", "of2", "uf1", "uf2")),
        ):
            border = getattr(f.trips, key)
            if border is not None:
                values |= {f"{key}_trip_{unit}": border[0], f"{key}_trip_t_s": border[1]}
    if isinstance(f.enter_service, EnterService):
        e = f.enter_service
        if e.v_pu is not None:
            values |= {"es_v_low_pu": e.v_pu[0], "es_v_high_pu": e.v_pu[1]}
        if e.f_hz is not None:
            values |= {"es_f_low_hz": e.f_hz[0], "es_f_high_hz": e.f_hz[1]}
        stated = {"es_delay_s": e.delay_s, "es_randomized_delay_s": e.randomised_delay_s, "es_ramp_s": e.ramp_s}
        values |= {name: value for name, value in stated.items() if value is not None}
    return values
