"""A small convex quadratic problem with soft rows, by HiGHS."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpp.grid.tables import FloatArray, IntArray

OPTIONS = {"output_flag": False, "threads": 1, "qp_regularization_value": 0.0}

ROUNDS = 10  # iterations a column and row: what converges takes two or three


class Quadratic(NamedTuple):
    """min 1/2 x'Hx + g'x + price sum(max(0, A x - b)), low <= x <= high; H is symmetric."""

    hessian: FloatArray
    gradient: FloatArray
    rows: FloatArray
    limit: FloatArray
    price: float
    low: FloatArray
    high: FloatArray


class QuadraticSolver:
    """HiGHS, kept for one problem after the other."""

    def __init__(self) -> None:
        """Start HiGHS, silent and serial."""
        import highspy

        self._h: Any = highspy
        self._highs = highspy.Highs()
        self._triangles: dict[int, tuple[IntArray, IntArray]] = {}
        for name, value in OPTIONS.items():
            self._highs.setOptionValue(name, value)

    def solve(self, problem: Quadratic) -> tuple[FloatArray, FloatArray] | None:
        """The best x (n,) and the rows' multipliers (k,), 0 to price; None where HiGHS finds no optimum, or none soon."""
        n, k = len(problem.gradient), len(problem.limit)
        hessian = convex(problem.hessian)
        model = self._h.HighsModel()
        model.lp_, model.hessian_ = self._lp(problem, n, k), self._hessian(hessian, n, k)
        # Its active set can go round in circles for ever; a count of iterations is the same on every machine, a time is not.
        self._highs.setOptionValue("qp_iteration_limit", ROUNDS * (n + k) + 200)
        self._highs.passModel(model)
        self._highs.run()
        if self._highs.getModelStatus() != self._h.HighsModelStatus.kOptimal:
            return None
        found = self._highs.getSolution()
        x = np.clip(np.asarray(found.col_value)[:n], problem.low, problem.high)
        return x, np.clip(-np.asarray(found.row_dual), 0.0, problem.price)

    def _lp(self, problem: Quadratic, n: int, k: int) -> Any:
        lp = self._h.HighsLp()
        lp.num_col_, lp.num_row_ = n + k, k
        lp.col_cost_ = np.concatenate([problem.gradient, np.full(k, problem.price)])
        lp.col_lower_ = np.concatenate([problem.low, np.zeros(k)])
        lp.col_upper_ = np.concatenate([problem.high, np.full(k, np.inf)])
        lp.row_lower_, lp.row_upper_ = np.full(k, -np.inf), problem.limit
        lp.a_matrix_.format_ = self._h.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = (np.arange(k + 1) * (n + 1)).astype(np.int32)
        index, value = np.empty((k, n + 1), np.int32), np.full((k, n + 1), -1.0)
        index[:, :n], index[:, n], value[:, :n] = np.arange(n), np.arange(n, n + k), problem.rows
        lp.a_matrix_.index_, lp.a_matrix_.value_ = index.ravel(), value.ravel()
        return lp

    def _hessian(self, hessian: FloatArray, n: int, k: int) -> Any:
        out = self._h.HighsHessian()
        out.dim_, out.format_ = n + k, self._h.HessianFormat.kTriangular
        if n not in self._triangles:
            self._triangles[n] = np.triu_indices(n)
        col, row = self._triangles[n]  # the lower triangle by columns
        start = np.full(n + k + 1, len(col), np.int32)
        start[:n] = np.arange(n) * (2 * n + 1 - np.arange(n)) // 2
        out.start_, out.index_, out.value_ = start, row.astype(np.int32), hessian[row, col]
        return out


def convex(hessian: FloatArray) -> FloatArray:
    """The matrix itself where it is positive definite, otherwise with its negative curvatures turned to their size."""
    scale = float(np.max(np.abs(np.diag(hessian)), initial=0.0)) or 1.0
    ridge = 1e-10 * scale * np.eye(len(hessian))
    try:
        np.linalg.cholesky(hessian + ridge)
    except np.linalg.LinAlgError:
        size, vectors = np.linalg.eigh(hessian)
        out: FloatArray = (vectors * np.maximum(np.abs(size), 1e-8 * scale)) @ vectors.T
        return (out + out.T) / 2.0
    return hessian + ridge
