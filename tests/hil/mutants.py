"""Inverters with one mistake each: what they hold is right, what they do is not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scenarios.bench import InverterModel

Change = Callable[[dict[str, float]], None]


class Acts(InverterModel):
    """Acts by other settings than it holds."""

    change: Change

    def __init__(self, change: Change) -> None:
        self.change = change
        super().__init__()

    def acts_by(self, held: Mapping[str, float]) -> Mapping[str, float]:
        values = dict(held)
        self.change(values)
        return values


def acts(**factors: Any) -> Callable[[], InverterModel]:
    """A mistake in some settings: a number multiplies, a function makes another value of all that is held."""

    def change(values: dict[str, float]) -> None:
        new = {name: f(values) if callable(f) else values[name] * f for name, f in factors.items()}
        values.update(new)

    return lambda: Acts(change)


def shifted(name: str, by: float) -> Callable[[Mapping[str, float]], float]:
    return lambda held: held[name] + by


class VoltWattForgottenOutsideTheDeadband(InverterModel):
    """While frequency is outside the deadband volt-watt does nothing: a priority turned round."""

    def __init__(self) -> None:
        super().__init__()
        self._out = False

    def acts_by(self, held: Mapping[str, float]) -> Mapping[str, float]:
        return {**held, "pv_enable": 0.0} if getattr(self, "_out", False) else held

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        out = abs(f_hz - self.nameplate.f_nom_hz) > self._held["pf_dbof_hz"]
        if out != self._out:
            self._out = out
            self.write({})
        return super().step(dt_s, vm_pu, f_hz, p_mw, permit)


class DroopIgnoresTheLimit(InverterModel):
    """The limit gives way to whatever the frequency is: it is lifted above nominal."""

    def __init__(self) -> None:
        super().__init__()
        self._high = False

    def acts_by(self, held: Mapping[str, float]) -> Mapping[str, float]:
        return {**held, "ap_limit_enable": 0.0, "pf_enable": 0.0} if getattr(self, "_high", False) else held

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        high = f_hz > self.nameplate.f_nom_hz + 0.3
        if high != self._high:
            self._high = high
            self.write({})
        return super().step(dt_s, vm_pu, f_hz, p_mw, permit)


class CapabilityIgnored(InverterModel):
    """Whatever reactive power is asked for is delivered, up to nameplate apparent power."""

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        p, q = super().step(dt_s, vm_pu, f_hz, p_mw, permit)
        asked = self._held["const_q_pu"] * self.nameplate.s_mva
        return (p, asked) if self._held["const_q_enable"] and abs(asked) > self.nameplate.q_inj_mvar else (p, q)


class Delayed(InverterModel):
    """What it sees of the voltage is three seconds old."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: deque[tuple[float, float]] = deque()
        self._now = 0.0

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        self._now += dt_s
        self._seen.append((self._now, vm_pu))
        while len(self._seen) > 1 and self._seen[1][0] <= self._now - 3.0:
            self._seen.popleft()
        return super().step(dt_s, self._seen[0][1], f_hz, p_mw, permit)


class ForgetsWhatIsWritten(InverterModel):
    """The third point of the volt-var curve cannot be changed, and nothing is said."""

    def write(self, values: Mapping[str, float]) -> None:
        super().write({name: value for name, value in values.items() if name != "qv_v3_pu"})


class RoundsWhatIsRead(InverterModel):
    """Reads back droop in whole per cent."""

    def read(self, names: Iterable[str]) -> dict[str, float]:
        return {name: round(value, 2) if name == "pf_kof" else value for name, value in super().read(names).items()}


class NoRampAfterTheDelay(InverterModel):
    """Enters service with all of its power."""

    def acts_by(self, held: Mapping[str, float]) -> Mapping[str, float]:
        return {**held, "es_ramp_s": 0.0}


class QuitsAtLowVoltage(InverterModel):
    """Does not ride through: below 0.6 pu it is gone at once, for good."""

    def acts_by(self, held: Mapping[str, float]) -> Mapping[str, float]:
        return {**held, "uv2_trip_v_pu": 0.6, "uv2_trip_t_s": 0.02}


def always(value: float) -> Callable[[Mapping[str, float]], float]:
    return lambda held: value


# Name -> how it is made, the suite that meets it, and the beginning of the clause that it fails.
MUTANTS: dict[str, tuple[Callable[[], InverterModel], str, str]] = {
    "volt-var, half the slope": (acts(qv_q1_pu=0.5, qv_q4_pu=0.5), "volt-var", "volt-var"),
    "volt-var, late": (acts(qv_olrt_s=4.0), "volt-var", "volt-var"),
    "volt-var, dead time of 3 s": (Delayed, "volt-var", "volt-var"),
    "volt-var, no deadband": (acts(qv_v2_pu=always(1.0), qv_v3_pu=always(1.0)), "volt-var", "volt-var"),
    "volt-var, sign": (acts(**{f"qv_q{k}_pu": -1.0 for k in range(1, 5)}), "volt-var", "volt-var"),
    "volt-var, curve 0.04 pu too high": (
        acts(**{f"qv_v{k}_pu": shifted(f"qv_v{k}_pu", 0.04) for k in range(1, 5)}), "volt-var", "volt-var",
    ),
    "volt-var, active power first": (
        acts(np_prio_active=always(1.0), np_q_req_inj_pu=0.0, np_q_req_abs_pu=0.0), "volt-var", "volt-var",
    ),
    "volt-watt, twice the width": (acts(pv_v2_pu=lambda held: 2 * held["pv_v2_pu"] - held["pv_v1_pu"]), "volt-watt", "volt-watt"),
    "volt-watt, late": (acts(pv_olrt_s=4.0), "volt-watt", "volt-watt"),
    "volt-watt, ignored": (acts(pv_enable=0.0), "volt-watt", "volt-watt"),
    "watt-var, sign": (acts(**{f"qp_q{k}_gen_pu": -1.0 for k in (1, 2, 3)}), "watt-var", "watt-var"),
    "watt-var, of the wrong point": (acts(qp_p2_gen_pu=always(0.95)), "watt-var", "watt-var"),
    "power factor, sign": (acts(const_pf_excitation=-1.0), "constant-power-factor", "constant power factor"),
    "power factor, 0.98 at least": (
        acts(const_pf=lambda held: max(held["const_pf"], 0.98)), "constant-power-factor", "constant power factor",
    ),
    "reactive power, of capability": (acts(const_q_pu=0.44), "constant-reactive-power", "constant reactive power"),
    "reactive power, late": (acts(const_q_rt_s=3.0), "constant-reactive-power", "constant reactive power"),
    "reactive power, capability ignored": (CapabilityIgnored, "constant-reactive-power", "reactive power capability"),
    "droop, half the gain": (acts(pf_kof=2.0), "frequency-droop", "frequency droop"),
    "droop, nothing below": (acts(pf_dbuf_hz=1000.0), "frequency-droop", "frequency droop"),
    "droop, of momentary power": (acts(pf_basis_uf=always(1.0)), "frequency-droop", "frequency droop"),
    "droop, deadband ten times": (acts(pf_dbof_hz=10.0), "frequency-droop", "frequency droop"),
    "limit, ignored": (acts(ap_limit_enable=0.0), "limit-active-power", "limit active power"),
    "limit, in two minutes": (acts(ap_rt_s=4.0), "limit-active-power", "limit active power"),
    "limit, frequency lifts it": (DroopIgnoresTheLimit, "limit-active-power", "limit active power"),
    "enter service, no delay": (acts(es_delay_s=0.0), "enter-service", "enter service"),
    "enter service, window too wide": (acts(es_v_high_pu=1.1), "enter-service", "enter service"),
    "enter service, half the ramp": (acts(es_ramp_s=0.5), "enter-service", "enter service, ramp"),
    "enter service, no ramp": (NoRampAfterTheDelay, "enter-service", "enter service, ramp"),
    "trip, overvoltage late": (acts(ov1_trip_t_s=1.1), "trip", "voltage trip"),
    "trip, undervoltage early": (acts(uv1_trip_t_s=0.9), "trip", "voltage trip"),
    "trip, undervoltage 0.05 pu too low": (acts(uv2_trip_v_pu=shifted("uv2_trip_v_pu", -0.05)), "trip", "voltage trip"),
    "trip, overfrequency never": (acts(of2_trip_f_hz=2.0), "trip", "frequency trip"),
    "priority, volt-watt forgotten": (VoltWattForgottenOutsideTheDeadband, "priority", "priority of responses"),
    "priority, volt-var before power factor": (
        acts(const_pf_enable=0.0, qv_enable=lambda held: max(held["qv_enable"], held["const_pf_enable"])),
        "priority", "priority of responses",
    ),
    "ride-through, quits": (QuitsAtLowVoltage, "ride-through", "voltage ride-through"),
    "ride-through, no cessation": (acts(mc_enable=0.0), "ride-through", "voltage ride-through"),
    "settings, forgets": (ForgetsWhatIsWritten, "interoperability", "settings by the interface"),
    "settings, rounds": (RoundsWhatIsRead, "interoperability", "settings by the interface"),
}  # fmt: skip
