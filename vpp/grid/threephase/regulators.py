"""Tap changers under control: line-drop compensation, dead band, and which of them moves first.

The rule is that of OpenDSS's static control mode: after each solution every control looks at its compensated
voltage; of those outside their band the ones with the shortest delay move, each by 0.7 of the steps that the deviation
asks for (at least one); then it is solved anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vpp.grid.tables import ComplexArray, FloatArray, IntArray
from vpp.grid.threephase.compile import compile_feeder
from vpp.grid.threephase.feeder import Feeder, Regulator, Transformer
from vpp.grid.threephase.network import BRANCH_KINDS, ThreePhaseNetwork
from vpp.grid.threephase.primitives import winding_volts
from vpp.grid.threephase.results import branch_flows
from vpp.grid.threephase.solver import CurrentInjection, PhaseSolution

DAMPING = 0.7  # of the deviation, what is mended in one round: the compensation answers to a tap change too


class Settled(NamedTuple):
    """What the controls came to rest at."""

    network: ThreePhaseNetwork  # with the taps reached
    solution: PhaseSolution
    steps: int  # rounds of tap changes
    at_rest: bool  # every control within its band, or at the end of its range


class RegulatedFlow:
    """Power flow of a feeder whose taps move: from one step to the next they stay where they came to rest.

    The solver of every combination of taps is kept, the last ``KEPT`` of them. Legs are those of the feeder's loads.
    """

    KEPT = 64

    def __init__(self, feeder: Feeder, *, max_rounds: int = 100) -> None:
        """Start at the taps that the feeder states, each taken to the nearest of its steps."""
        self.feeder, self.max_rounds = feeder, max_rounds
        self.transformers = tuple(taps(feeder))
        self._position = np.array(list(taps(feeder).values()), dtype=np.int64)
        self._engines: dict[bytes, CurrentInjection] = {}

    @property
    def position(self) -> dict[str, int]:
        """Tap positions by transformer, 0 the neutral one."""
        return dict(zip(self.transformers, self._position.tolist(), strict=True))

    def state(self) -> IntArray:
        """Positions (n_regulated,), a copy."""
        return self._position.copy()

    def restore(self, state: IntArray) -> None:
        """Put the taps where a state had them."""
        if state.shape != self._position.shape:
            raise ValueError(f"{state.shape[0]} tap positions for {len(self._position)} transformers")
        self._position = state.copy()

    def step(self, p_mw: FloatArray, q_mvar: FloatArray) -> Settled:
        """Solve at injections (n_leg,), let the controls move until they rest; a diverged solve moves none."""
        count = 0
        while True:
            engine = self._engine()
            solution = engine.solve(p_mw, q_mvar)
            moves: dict[str, int] = {}
            if solution.converged:
                feeder = with_taps(self.feeder, self.position)
                moves = _moves(feeder, relay_volts(engine.network, feeder, solution.v))
            if not moves or count == self.max_rounds:
                return Settled(engine.network, solution, count, solution.converged and not moves)
            for k, name in enumerate(self.transformers):
                self._position[k] += moves.get(name, 0)
            count += 1

    def _engine(self) -> CurrentInjection:
        """Solver at the present taps."""
        key = self._position.tobytes()
        made = self._engines.pop(key, None)
        if made is None:
            made = CurrentInjection(compile_feeder(with_taps(self.feeder, self.position)))
            if len(self._engines) >= self.KEPT:
                del self._engines[next(iter(self._engines))]
        self._engines[key] = made  # at the end: the one used last goes last
        return made


def taps(feeder: Feeder) -> dict[str, int]:
    """Positions of the regulated taps by transformer, 0 the neutral one."""
    out = {}
    for reg in feeder.regulators:
        winding = _transformer(feeder, reg).windings[reg.winding]
        out[reg.transformer] = round((winding.tap - 1.0) / _step(feeder, reg))
    return out


def with_taps(feeder: Feeder, positions: dict[str, int]) -> Feeder:
    """Copy a feeder with regulated taps at positions (by transformer), others as they are."""
    change = {r.transformer: (r.winding, 1.0 + positions[r.transformer] * _step(feeder, r)) for r in feeder.regulators
              if r.transformer in positions}  # fmt: skip
    made = []
    for t in feeder.transformers:
        if t.name in change:
            side, tap = change[t.name]
            windings = list(t.windings)
            windings[side] = replace(windings[side], tap=tap)
            t = replace(t, windings=(windings[0], windings[1]))
        made.append(t)
    return replace(feeder, transformers=made)


def relay_volts(net: ThreePhaseNetwork, feeder: Feeder, v: ComplexArray) -> FloatArray:
    """Compensated voltage (n_regulator,) in V on the relay's side, from voltages (n_node,) in pu."""
    flows = branch_flows(net, v)
    volts = v * net.node_v_base
    out = np.empty(len(feeder.regulators))
    for k, reg in enumerate(feeder.regulators):
        branch = next(b for b in range(net.n_branch) if net.branch_name[b] == reg.transformer
                      and BRANCH_KINDS[net.branch_kind[b]] == "transformer")  # fmt: skip
        at = int(net.branch_start[branch] if reg.winding == 0 else net.branch_split[branch])
        measured = volts[net.conductor_node[at]] / reg.pt_ratio
        drop = complex(reg.r, reg.x) * flows.i_ka[at] * 1e3 / reg.ct_primary_a  # the current into the transformer
        out[k] = abs(measured + drop)
    return out


def settle(feeder: Feeder, max_rounds: int = 100) -> Settled:
    """Let the controls move from the taps that the feeder states, at its rated loads, until they rest."""
    flow = RegulatedFlow(feeder, max_rounds=max_rounds)
    return flow.step(*compile_feeder(feeder).rated_injections())


def _moves(feeder: Feeder, relay: FloatArray) -> dict[str, int]:
    """Which taps move next, and how many steps."""
    wanted: list[tuple[float, str, int]] = []
    now = taps(feeder)
    for k, reg in enumerate(feeder.regulators):
        off = reg.v_set - relay[k]
        if abs(off) <= reg.band / 2.0:
            continue
        transformer, step = _transformer(feeder, reg), _step(feeder, reg)
        winding = transformer.windings[reg.winding]
        fit = round(abs(off) * reg.pt_ratio / winding_volts(transformer.phases, winding) / step)
        count = min(max(int(DAMPING * fit + 1e-9), 1), reg.max_steps) if fit else 0
        low, high = round((winding.tap_min - 1.0) / step), round((winding.tap_max - 1.0) / step)
        goal = min(max(now[reg.transformer] + (count if off > 0.0 else -count), low), high)
        if goal != now[reg.transformer]:
            wanted.append((reg.delay_s, reg.transformer, goal - now[reg.transformer]))
    first = min((delay for delay, _, _ in wanted), default=0.0)
    return {name: change for delay, name, change in wanted if delay == first}


def _transformer(feeder: Feeder, reg: Regulator) -> Transformer:
    """Find the transformer of a control."""
    return next(t for t in feeder.transformers if t.name == reg.transformer)


def _step(feeder: Feeder, reg: Regulator) -> float:
    """Size of a tap step in pu."""
    winding = _transformer(feeder, reg).windings[reg.winding]
    return (winding.tap_max - winding.tap_min) / winding.tap_steps
