"""The plan of a reading: which blocks to ask for so that every point is covered in few requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.kernel.signals import IntArray
from vpp.wire.modbus.address import Address, Codec
from vpp.wire.modbus.pdu import MAX_READ_BITS, MAX_READ_WORDS, Space
from vpp.wire.points import PointTable


@dataclass(frozen=True, slots=True)
class Block:
    """One request: ``count`` values from ``start``, and the places (in the plan's order) of the points in it."""

    unit: int
    space: Space
    start: int
    count: int
    places: IntArray


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read some points of a table.

    Attributes:
        points: (m,) rows of the table, in the order asked for.
        blocks: the requests; their values, one behind the other, are what the codec reads.
        offset: where each block begins there.
        codec: from those values to raw numbers.
    """

    points: IntArray
    blocks: tuple[Block, ...]
    offset: IntArray
    codec: Codec

    @property
    def size(self) -> int:
        """Number of values of all blocks."""
        return int(self.offset[-1])


def make_plan(
    table: PointTable, addresses: Sequence[Address], points: IntArray, gap: int = 8, alone: frozenset[int] = frozenset()
) -> Plan:
    """Cover points by blocks of at most 125 registers or 2000 bits.

    Args:
        table: the table.
        addresses: of every point of the table.
        points: rows to read.
        gap: registers between two points that are read along rather than asked for apart.
        alone: rows that get a block of their own, because a device refused a block with them in it.
    """
    order = sorted(range(len(points)), key=lambda i: _key(addresses[int(points[i])]))
    groups: list[list[int]] = []
    end, last = 0, (0, Space.COIL, False)
    for place in order:
        row = int(points[place])
        a = addresses[row]
        here = (a.unit, a.space, row in alone)
        most = MAX_READ_BITS if a.space.bits else MAX_READ_WORDS
        fits = bool(groups) and here == last and row not in alone and a.number <= end + gap
        if fits and max(end, a.number + a.words) - addresses[int(points[groups[-1][0]])].number <= most:
            groups[-1].append(place)
            end = max(end, a.number + a.words)
        else:
            groups.append([place])
            end, last = a.number + a.words, here
    blocks = tuple(_block(addresses, points, places) for places in groups)
    offset = np.concatenate([[0], np.cumsum([b.count for b in blocks])]).astype(np.int64)
    first = np.zeros(len(points), np.int64)
    for begin, block in zip(offset, blocks):
        for place in block.places:
            first[place] = begin + addresses[points[place]].number - block.start
    return Plan(points, blocks, offset, Codec(table, addresses, points, first))


def _key(address: Address) -> tuple[int, int, int]:
    return address.unit, int(address.space), address.number


def _block(addresses: Sequence[Address], points: IntArray, places: list[int]) -> Block:
    covered = [addresses[points[place]] for place in places]
    first = covered[0]
    count = max(a.number + a.words for a in covered) - first.number
    return Block(first.unit, first.space, first.number, count, np.array(places, np.int64))
