"""An estimate of the whole network, with how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from vpp.kernel.signals import ByteArray, FloatArray


@dataclass(frozen=True, slots=True)
class GridState:
    """State of the network at one moment; NaN where it is not observable.

    Attributes:
        time_ns: the moment it describes.
        vm_pu, va_degree: (buses,) voltage magnitude and angle.
        vm_sigma_pu: (buses,) standard deviation of the magnitude.
        loading: (branches,) current of rated current.
        quality: (buses,) quality byte.
    """

    time_ns: int
    vm_pu: FloatArray
    va_degree: FloatArray
    vm_sigma_pu: FloatArray
    loading: FloatArray
    quality: ByteArray
