"""A unit for FMI 2.0 made with pythonfmu: a store in kW and kWh that counts charging positive."""

from __future__ import annotations

from pythonfmu import Fmi2Causality, Fmi2Slave, Fmi2Variability, Real
from pythonfmu.enums import Fmi2Status


class Store(Fmi2Slave):
    """Charges and discharges as it is told, without losses; draws less at low voltage; can be made to fail."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.capacity_kwh, self.fail_at_s = 10.0, 1e12
        self.p_set_kw, self.u_pu, self.f_hz, self.help_kw = 0.0, 1.0, 50.0, 0.0
        self.p_kw, self.q_kvar, self.soc, self.steps = 0.0, 0.0, 0.5, 0.0
        for name in ("capacity_kwh", "fail_at_s"):
            self.register_variable(Real(name, causality=Fmi2Causality.parameter, variability=Fmi2Variability.tunable))
        for name in ("p_set_kw", "u_pu", "f_hz", "help_kw"):
            self.register_variable(Real(name, causality=Fmi2Causality.input))
        for name in ("p_kw", "q_kvar", "soc", "steps"):
            self.register_variable(Real(name, causality=Fmi2Causality.output))

    def do_step(self, current_time, step_size):
        """Move the charge by what fits."""
        if current_time >= self.fail_at_s:
            self.log("the contactor is welded", Fmi2Status.error)
            return False
        hours = step_size / 3600.0
        wanted = self.p_set_kw * self.u_pu - self.help_kw
        self.p_kw = min(max(wanted, -self.soc * self.capacity_kwh / hours), (1.0 - self.soc) * self.capacity_kwh / hours)
        self.q_kvar = 0.1 * self.p_kw + (self.f_hz - 50.0)
        self.soc += self.p_kw * hours / self.capacity_kwh
        self.steps += 1.0
        return True
