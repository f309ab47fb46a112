"""Fleets laid out from entries, all on node 0, for the tests of single devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.devices.entry import Columns, Entry, Places
from twin.series import ProfileTable, Surroundings, ordered, tabulate
from twin.spec import FleetSpec
from vpp.kernel.fleet import Capability, Terminals, simple_fleet

START_NS = 1_466_460_000 * 10**9  # 2016-06-21, 00:00 in Berlin


def places(m: int = 1, steps: int = 96, dt_s: float = 900.0, seed: int = 1, start_ns: int = START_NS) -> Places:
    """m places on a mere bus; the run begins at local midnight."""
    time_ns = start_ns + round(dt_s * 1e9) * np.arange(steps, dtype=np.int64)
    zero = np.zeros(m, np.int64)
    random = np.random.default_rng(seed)
    return Places(zero, zero - 1, None, np.ones(m), zero, random, ("PV1",), time_ns, dt_s, "Europe/Berlin")


def spec_of(entry: Entry, at: Places, horizon: int = 200) -> FleetSpec:
    """The entry's resources as a fleet."""
    return spec_from(entry.kind, entry.lay_out(at), at, horizon)


def spec_from(kind: str, columns: Columns, at: Places, horizon: int = 200) -> FleetSpec:
    """The columns as a fleet of one kind."""
    m = at.m
    sources = ordered({s for series in columns.series.values() for s in series if s is not None})
    number: dict[Any, int] = {None: -1, **{s: k for k, s in enumerate(sources)}}
    dt_ns = round(at.dt_s * 1e9)
    time_ns = at.time_ns[0] + dt_ns * np.arange(len(at.time_ns) + horizon, dtype=np.int64)
    table = tabulate(sources, Surroundings(time_ns, at.dt_s)) if sources else ProfileTable.constant(len(time_ns), np.ones(1))
    roles = {role: np.array([number[s] for s in series]) for role, series in columns.series.items()}
    none = np.full(m, -1)
    fleet = simple_fleet(
        columns.p_min_mw, columns.p_max_mw, kind=(kind,) * m, control=columns.control,
        terminal=Terminals.single(np.zeros(m, np.int32)), p_safe_mw=columns.p_safe_mw, p_gap_mw=columns.p_gap_mw,
        e_mwh=columns.e_mwh, soc_min=columns.soc_min, soc_max=columns.soc_max,
        eff_charge=columns.eff_charge, eff_discharge=columns.eff_discharge, capability=Capability.circle(columns.s_mva),
    )  # fmt: skip
    own = {**columns.own, **columns.events, **{role: c for role, c in roles.items() if role not in ("p", "q")}}
    return FleetSpec(
        fleet, columns.p_mw, columns.q_mvar, columns.s_mva, columns.soc, roles.get("p", none).astype(np.int32),
        roles.get("q", none).astype(np.int32), columns.settings, table, columns.sign, {kind: own},
    )  # fmt: skip
