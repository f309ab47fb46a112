"""Volt/VAR optimisation: least losses by inverters' reactive power, tap changers and switched shunts.

Sequential quadratic programming with exact second derivatives in a trust region; every step is checked by a power flow, and
only what is better is taken. Discrete devices move freely first, then they are rounded and the rest is solved again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpp.grid.losses.model import Linear, Model
from vpp.grid.losses.problem import Devices, Limits, VoltVar, breaches
from vpp.grid.losses.quadratic import Quadratic, QuadraticSolver
from vpp.grid.network import Network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, IntArray
from vpp.grid.taps import StepEntries, step_entries, stepped
from vpp.kernel.errors import Diverged

ENOUGH = 1e-8  # promised gain, as a share of the losses at the start, that is not worth a step
LAST = 1e-6  # gain of a round after which another one promises nothing: convergence is quadratic
NEAR = 1e-9  # of a device's range: it has not moved


class _Point(NamedTuple):
    """One solved state: the devices, the network with its steps there, voltages, losses and the price of it all."""

    u: FloatArray
    network: Network
    v: ComplexArray
    loss_mw: float
    values: FloatArray
    merit: float


class VoltVarOptimiser:
    """Made once for a network, its devices and limits; solves one operating state after the other."""

    def __init__(self, network: Network, devices: Devices, limits: Limits | None = None) -> None:
        """Prepare; ValueError where an inverter's bus is not energised or a band is empty."""
        self.network, self.devices = network, devices
        self.limits = limits if limits is not None else Limits.of(network)
        node = network.node_of_bus[devices.bus].astype(np.int64)
        if np.any(node < 0):
            raise ValueError(f"{int(np.sum(node < 0))} inverters are at buses that are not energised")
        if np.any(devices.q_min_mvar > devices.q_max_mvar):
            raise ValueError("an inverter's lowest reactive power is above its highest")
        taps, shunts = network.taps, network.shunts
        may_tap = np.ones(len(taps), bool) if devices.taps is None else devices.taps
        may_switch = np.ones(len(shunts), bool) if devices.shunts is None else devices.shunts
        may_tap = may_tap & (taps.max > taps.min) & network.branch_on[taps.branch]
        may_switch = may_switch & (network.node_of_bus[shunts.bus] >= 0) & (shunts.max_step > 0)
        self._moves: IntArray = np.flatnonzero(np.concatenate([may_tap, may_switch]))
        steps_low = np.concatenate([taps.min, np.zeros(len(shunts))])[self._moves]
        steps_high = np.concatenate([taps.max, shunts.max_step])[self._moves]
        self._steps = np.concatenate([taps.pos, shunts.step]).astype(np.float64)
        self._low = np.concatenate([devices.q_min_mvar, steps_low])
        self._high = np.concatenate([devices.q_max_mvar, steps_high])
        self._model = Model(network, node, self.limits)
        self._model.device = self._moves
        self._engine = LightSim2Grid(network)
        pattern = self._model.pattern
        self._stored = self._engine.entries(pattern.row, pattern.col) if len(self._moves) else np.zeros(0, np.int64)
        self._unchanged = np.zeros(0, np.complex128)
        self._still = step_entries(network)
        self._solver = QuadraticSolver()

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, rounds: int = 12) -> VoltVar:
        """Find the least losses.

        Args:
            p_mw: (n_node,) injections.
            q_mvar: (n_node,) injections of everything but the inverters.
            rounds: linearisations at most in each of the two passes.

        Raises:
            Diverged: the power flow has no solution at the start.
        """
        m = len(self.devices.bus)
        p_all, q_all = net_injections(self.network, p_mw, q_mvar)
        self._p = np.asarray(p_mw, np.float64)
        self._s: ComplexArray = np.asarray(p_all + 1j * q_all, np.complex128) / self.network.sn_mva
        u = np.concatenate([self.devices.q_mvar, self._steps[self._moves]])
        self._loss0 = 1.0
        first = self._point(u, None)
        if first is None:
            raise Diverged(self.network.name, "the power flow has no solution where the optimisation is to begin")
        self._loss0 = max(first.loss_mw, 1e-9 * self.network.sn_mva)
        start = first._replace(merit=self._priced(first.loss_mw, first.values))
        free, legal = np.ones(len(u), bool), np.clip(u, self._low, self._high)
        inside = start if np.array_equal(legal, u) else self._point(legal, first.v)
        best, done, settled = self._descend(inside if inside is not None else start, free, rounds)
        relaxed = best.loss_mw
        if len(self._moves):
            free[m:] = False
            rounded = np.concatenate([best.u[:m], np.rint(best.u[m:])])
            point = self._point(rounded, best.v)
            candidates = [start if inside is start else None, point]
            best, more, settled = self._descend(min(filter(None, candidates), key=lambda c: c.merit), free, rounds)
            if point is not None and best.merit > point.merit:
                best = point
            done += more
        return VoltVar(
            best.network, best.u[:m], best.v, best.loss_mw, start.loss_mw, relaxed,
            breaches(best.network, best.v, self.limits), breaches(start.network, start.v, self.limits), done, settled,
        )  # fmt: skip

    def _priced(self, loss: float, values: FloatArray) -> float:
        """The merit: losses and breaches, in the losses at the start."""
        return loss / self._loss0 + self.limits.price * float(np.maximum(values, 0.0).sum())

    def _point(self, u: FloatArray, v_start: ComplexArray | None) -> _Point | None:
        """Solve with the devices at ``u``; None where there is no solution."""
        network, change = self.network, self._unchanged
        if len(self._moves):
            network = stepped(self.network, *self._positions(u))
            change = network.y_data - self.network.y_data
        s = self._s + np.bincount(self._model.node, u[: len(self.devices.bus)], self.network.n_node) * 1j / self.network.sn_mva
        begin = v_start
        if begin is None:
            solution = self._engine.solve(self._p, s.imag * self.network.sn_mva - self.network.fixed_q_mvar)
            if not solution.converged:
                return None
            begin = solution.v
        v = self._engine.solve_changed(s, begin, self._stored, change, np.zeros(0, np.int32))
        if v is None:
            return None
        loss, values = self._model.losses(network, v), self._model.values(network, v)
        return _Point(u, network, v, loss, values, self._priced(loss, values))

    def _positions(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Every tap's position and every shunt's step at ``u``."""
        steps = self._steps.copy()
        steps[self._moves] = u[len(self.devices.bus) :]
        return steps[: len(self.network.taps)], steps[len(self.network.taps) :]

    def _entries(self, point: _Point) -> StepEntries:
        """What the steps do at a point."""
        if not len(self._moves):
            return self._still
        return step_entries(point.network, self._positions(point.u)[0])

    def _descend(self, point: _Point, free: BoolArray, rounds: int) -> tuple[_Point, int, bool]:
        """Go down from a point with some of the devices: the best point, rounds used, whether it settled."""
        width = np.where(free, self._high - self._low, 0.0)
        moving = np.flatnonzero(width > 0.0)
        multipliers = np.zeros(len(point.values))
        reach, fresh = 1.0, True
        if not len(moving):
            return point, 0, True
        for k in range(rounds):
            if fresh:
                linear = Linear(self._model, point.network, point.v, self._entries(point))
                local = linear.local()
            low = np.maximum(self._low - point.u, -reach * width)[moving] / width[moving]
            high = np.minimum(self._high - point.u, reach * width)[moving] / width[moving]
            hessian = linear.hessian(multipliers * self._loss0)[np.ix_(moving, moving)] * np.outer(width[moving], width[moving])
            jacobian = local.jacobian[:, moving] * width[moving]
            most = point.values + np.where(jacobian > 0, jacobian * high, jacobian * low).sum(axis=1)
            rows = np.flatnonzero(most > 0.0)
            gradient = local.gradient[moving] * width[moving] / self._loss0
            problem = Quadratic(
                hessian / self._loss0, gradient, jacobian[rows], -point.values[rows], self.limits.price, low, high
            )  # fmt: skip
            found = self._solver.solve(problem)
            if found is None:
                reach, fresh = reach / 4.0, False
                continue
            gain, size = self._gain(problem, point.values, jacobian, found[0]), float(np.abs(found[0]).max())
            if gain < ENOUGH or size < NEAR:
                return point, k + 1, True
            u = point.u.copy()
            u[moving] += found[0] * width[moving]
            new = self._point(u, point.v)
            real = -np.inf if new is None else point.merit - new.merit
            multipliers = np.zeros_like(multipliers)
            multipliers[rows] = found[1]
            fresh = real > 0.0
            if new is not None and fresh:
                point = new
                if real < LAST:
                    return point, k + 1, True
            if real < 0.25 * gain:
                reach = min(reach, size) / 4.0
        return point, rounds, False

    def _gain(self, problem: Quadratic, value: FloatArray, jacobian: FloatArray, x: FloatArray) -> float:
        """What a step promises, in the unit of the merit."""
        before = np.maximum(value, 0.0).sum()
        after = np.maximum(value + jacobian @ x, 0.0).sum()
        quadratic = problem.gradient @ x + 0.5 * x @ problem.hessian @ x
        return float(self.limits.price * (before - after) - quadratic)


def volt_var(
    network: Network, p_mw: FloatArray, q_mvar: FloatArray, devices: Devices | None = None, limits: Limits | None = None
) -> VoltVar:
    """Minimise the losses of one state; see :class:`VoltVarOptimiser`. ``devices`` default to the network's own."""
    return VoltVarOptimiser(network, devices if devices is not None else Devices.of(network), limits).solve(p_mw, q_mvar)
