"""What a client holds of its peer's points, where the peer reports by itself: the latest raw value, quality and times."""

from __future__ import annotations

import time

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.wire.link import Batch
from vpp.wire.points import PointTable


class Picture:
    """The latest of every point of a table."""

    def __init__(self, table: PointTable) -> None:
        """Nothing is known."""
        n = len(table)
        self.table = table
        self._raw: FloatArray = np.full(n, np.nan)
        self._quality: ByteArray = np.full(n, q.INVALID | q.COMM_LOST, np.uint8)
        self._time, self._received, self._put_at = (np.zeros(n, np.int64) for _ in range(3))

    def put(self, row: int, raw: float, quality: int, time_ns: int, event: bool, now_ns: int) -> bool:
        """Take in one value: whether it is an event, or differs from what was held.

        A value without an event brings no time of its own: it keeps that of its last event for as long as it is the same.
        """
        told = event or self._raw[row] != raw or self._quality[row] != quality
        if told:
            self._time[row] = time_ns
        self._raw[row], self._quality[row], self._received[row] = raw, quality, now_ns
        self._put_at[row] = time.monotonic_ns()
        return bool(told)

    def since(self, points: IntArray, begin: int) -> BoolArray:
        """Which points came since a moment of the monotonic clock."""
        return self._put_at[points] >= begin

    def batch(self, points: IntArray) -> Batch:
        """Points as samples."""
        values, quality = self.table.decode(points, self._raw[points], self._quality[points])
        return Batch(points, values, quality, self._time[points], self._received[points])
