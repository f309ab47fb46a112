"""How well a laboratory must measure, and what that leaves to the equipment: IEEE 1547.1's minimum required accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from hil.bench.ports import Nameplate
from hil.bench.tables import table


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Uncertainties that a criterion allows for: the accuracies times their coverage.

    Attributes:
        v_pu, f_hz: of what is applied.
        p_pu: of active power, of rated.
        q_pu: of reactive power, of nameplate VA.
        t: of a duration, as a share of it.
        t_least_s: of a duration, at least.
        coverage: the factor that is in all of these (constant reactive power is judged without it).
    """

    v_pu: float
    f_hz: float
    p_pu: float
    q_pu: float
    t: float
    t_least_s: float
    coverage: float

    def of_time(self, duration_s: float) -> float:
        """Of a duration: a share of it, and no less than two cycles."""
        return max(self.t * duration_s, self.t_least_s)


def required(nameplate: Nameplate, share: float = 1.0) -> Uncertainty:
    """The minimum required accuracy for this equipment; ``share`` is below 1 for a better laboratory."""
    data, coverage = table("accuracy"), float(table("coverage"))
    steady, factor = data["steady"], coverage * share
    return Uncertainty(
        v_pu=factor * steady["v_pu"],
        f_hz=factor * steady["f_hz"],
        p_pu=factor * steady["p_of_s"] * nameplate.s_of_p,
        q_pu=factor * steady["q_of_s"],
        t=factor * steady["t_of_duration"],
        t_least_s=share * data["transient"]["t_cycles"] / nameplate.f_nom_hz,
        coverage=coverage,
    )
