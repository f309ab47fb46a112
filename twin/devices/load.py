"""Base load: active and reactive power follow a profile; nothing can be asked of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from twin.devices.entry import Columns, Entry, Places
from twin.devices.model import DeviceModel, Offer, StepInput
from twin.series import profile_named
from vpp.fields import Fraction, Where
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row


class LoadEntry(Entry):
    """Consumers that follow a profile. Not controlled."""

    native: ClassVar[str] = "loads"

    kind: Literal["load"]
    profile: str | None = Field(
        None, description="SimBench load profile or file:<csv>, factor of the rating; default: the load's own, else constant"
    )
    power_factor: Fraction = Field(1.0, description="cos φ, inductive, where p_mw is given [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A power factor belongs to a stated rating."""
        yield from super().contradictions()
        if self.power_factor == 0:
            yield ("power_factor",), "power_factor must be more than 0"
        if self.p_mw is None and self.power_factor != 1:
            yield ("power_factor",), "the load's own reactive power is used where p_mw is not given"

    def lay_out(self, places: Places) -> Columns:
        """Consumption; SimBench keeps the profiles of active and reactive power apart, a file serves both."""
        rating = self.rating(places)
        columns = Columns.consuming(rating)
        if self.p_mw is None:
            columns.q_mvar = np.asarray(places.factor * places.table.q_mvar[places.row])
        else:
            columns.q_mvar = 0.0 - rating * math.tan(math.acos(self.power_factor))
        own = places.table is not None and self.profile is None
        names = [places.table.profile[i] for i in places.row] if own else [self.profile or ""] * places.m
        for pq in "pq":
            columns.series[pq] = [profile_named(_column(name, pq)) for name in names]
        return columns


def _column(name: str, pq: str) -> str:
    """Column of a load profile."""
    return name if not name or name.startswith("file:") else f"{name}_{pq}load"


class Load(DeviceModel):
    """Loads with their profiles, consumption negative."""

    kind: ClassVar[str] = "load"
    entry: ClassVar[type[Entry]] = LoadEntry

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Power by the profile of this step."""
        s = self.spec
        _offer(self.at, s.p_rated_mw, s.q_rated_mvar, s.profile_p, s.profile_q, given.profile, out)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_rated: FloatArray, q_rated: FloatArray, profile_p: Int32Array, profile_q: Int32Array,
    factor: npt.NDArray[np.float32], out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        p = -p_rated[i] * (factor[profile_p[i]] if profile_p[i] >= 0 else 1.0)
        q = q_rated[i] * (factor[profile_q[i]] if profile_q[i] >= 0 else 1.0)
        out[_P, i], out[_Q, i], out[_FOLLOW, i] = p, q, 1.0
        out[_MIN, i] = out[_MAX, i] = p
        out[_SOC, i] = np.nan
