"""An estimate of the whole network, with how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vpp.kernel.signals import ByteArray, FloatArray, Int32Array, IntArray


@dataclass(frozen=True, slots=True)
class GridState:
    """State of the network at one moment; NaN where it is not observable.

    Attributes:
        time_ns: the moment it describes.
        vm_pu, va_degree: (buses,) voltage magnitude and angle.
        vm_sigma_pu: (buses,) standard deviation of the magnitude.
        loading: (branches,) current of rated current.
        quality: (buses,) quality byte; substituted where no measurement but an expectation determines it.
        island: (buses,) electrical island of each bus, -1 where it is dead; empty: there is one.
        f_hz: (islands,) frequency; empty: not estimated.
        forming: (islands,) resource that forms the island, -1: a public grid does; empty: one public grid.
        suspects: names of the points that were taken out as gross errors.
        doubted: branches whose believed state the measurements speak against.
        wanted: what is missing, in words.
        loading_sigma: (branches,) standard deviation of the loading; empty: not estimated.
        point_value, point_sigma: (points,) what the estimate says the points of the frame show, in their units, and how sure
            it is; NaN where it does not know; empty: not estimated.
        converged: False where no state fits the measurements: then nothing is known.
    """

    time_ns: int
    vm_pu: FloatArray
    va_degree: FloatArray
    vm_sigma_pu: FloatArray
    loading: FloatArray
    quality: ByteArray
    island: Int32Array = field(default_factory=lambda: np.zeros(0, np.int32))
    f_hz: FloatArray = field(default_factory=lambda: np.zeros(0))
    forming: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    suspects: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    loading_sigma: FloatArray = field(default_factory=lambda: np.zeros(0))
    point_value: FloatArray = field(default_factory=lambda: np.zeros(0))
    point_sigma: FloatArray = field(default_factory=lambda: np.zeros(0))
    converged: bool = True
