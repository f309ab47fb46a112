"""A small convex quadratic problem with soft rows, by HiGHS."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpp.grid.tables import FloatArray

OPTIONS = {"output_flag": False, "threads": 1, "qp_regularization_value": 0.0}


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
        for name, value in OPTIONS.items():
            self._highs.setOptionValue(name, value)

    def solve(self, problem: Quadratic) -> tuple[FloatArray, FloatArray] | None:
        """The best x (n,) and the rows' multipliers (k,), 0 to price; None where HiGHS finds no optimum."""
        n, k = len(problem.gradient), len(problem.limit)
        hessian = convex(problem.hessian)
        model = self._h.HighsModel()
        model.lp_, model.hessian_ = self._lp(problem, n, k), self._hessian(hessian, n, k)
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
        slack = np.arange(n, n + k)[:, None]
        lp.a_matrix_.index_ = np.hstack([np.broadcast_to(np.arange(n), (k, n)), slack]).ravel().astype(np.int32)
        lp.a_matrix_.value_ = np.hstack([problem.rows, np.full((k, 1), -1.0)]).ravel()
        return lp

    def _hessian(self, hessian: FloatArray, n: int, k: int) -> Any:
        out = self._h.HighsHessian()
        out.dim_, out.format_ = n + k, self._h.HessianFormat.kTriangular
        col, row = np.triu_indices(n)  # the lower triangle by columns
        out.start_ = np.concatenate([np.cumsum(np.concatenate([[0], n - np.arange(n)])), np.full(k, len(col))]).astype(np.int32)
        out.index_, out.value_ = row.astype(np.int32), hessian[row, col]
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
