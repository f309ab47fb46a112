"""A raw socket against SunSpec devices: pipelined, cut, and nonsense; nothing of what is refused stands."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from tests.wire.sunspec.fleet import serving
from vpp.wire.sunspec.der import Ders

WRITE, READ = 0x10, 3


def frame(transaction: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def reading(address: int, count: int) -> bytes:
    return struct.pack(">BHH", READ, address, count)


def writing(address: int, *words: int) -> bytes:
    return struct.pack(f">BHHB{len(words)}H", WRITE, address, len(words), 2 * len(words), *words)


class Peer:
    """A socket that reads whole answers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10.0)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, int, bytes]:
        transaction, _, length, unit = struct.unpack(">HHHB", self._take(7))
        return transaction, unit, self._take(length - 1)

    def ask(self, pdu: bytes) -> bytes:
        self.send(frame(1, pdu))
        return self.answer()[2]

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            got = self.socket.recv(65536)
            assert got, "the server has closed the connection"
            self._rest += got
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


@pytest.fixture
def port(made: Ders) -> Iterator[int]:
    with serving(made) as server:
        yield int(server.address[1])


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    made = Peer(port)
    yield made
    made.socket.close()


def test_a_whole_device_is_read_in_one_segment(peer: Peer, made: Ders) -> None:
    """Every register of both devices, one request a register pair, all sent at once; each answer has its own request's number."""
    base, words = made.layout.base, made.layout.words
    asked = [(at, unit) for at in range(0, words - 1, 2) for unit in (1, 2)]
    peer.send(b"".join(frame(n, reading(base + at, 2), unit) for n, (at, unit) in enumerate(asked)))
    for n, (at, unit) in enumerate(asked):
        transaction, told, pdu = peer.answer()
        assert (transaction, told, pdu[:2]) == (n, unit, b"\x03\x04")
        known = made.layout.at(at)
        if known is None or "Rem" not in known.path:
            assert np.array_equal(np.frombuffer(pdu[2:], ">u2"), made.images.words[unit - 1, at : at + 2])


def test_writings_and_readings_keep_their_order(peer: Peer, made: Ders) -> None:
    """A limit is written and read back ten times in one segment: every reading sees the writing right before it."""
    address = made.layout.address("704.WMaxLimPct")
    stream = b""
    for n in range(10):
        stream += frame(2 * n, writing(address, 5000 + n)) + frame(2 * n + 1, reading(address, 1))
    for begin in range(0, len(stream), 11):
        peer.send(stream[begin : begin + 11])
    for n in range(10):
        assert peer.answer() == (2 * n, 1, struct.pack(">BHH", WRITE, address, 1))
        assert peer.answer() == (2 * n + 1, 1, struct.pack(">BBH", READ, 2, 5000 + n))


@pytest.mark.parametrize("cut", [1, 6, 7, 9, 14])
def test_a_request_that_is_cut_off_does_nothing(port: int, peer: Peer, made: Ders, cut: int) -> None:
    whole = frame(7, writing(made.layout.address("704.WMaxLimPct"), 1234))
    other = Peer(port)
    other.send(whole[:cut])
    other.socket.close()
    assert peer.ask(reading(made.layout.address("704.WMaxLimPct"), 1)) == struct.pack(">BBH", READ, 2, 10000)


REFUSED = {
    "a measurement": (("701.W",), (1,), 2),
    "half of 32 bits": (("704.WSetRvrtTms",), (1,), 2),
    "into the middle of 32 bits": (("704.WSetRvrtTms", 1), (1,), 2),
    "the curve in force": (("705.Crv[0].RspTms",), (0, 1), 2),
    "a model's own number": (("704.ID",), (704,), 2),
    "a scale factor": (("705.V_SF",), (0,), 2),
    "a second one that cannot be written": (("705.AdptCrvReq",), (2, 1), 2),
    "no such symbol": (("704.WMaxLimPctEna",), (3,), 3),
    "not implemented": (("704.WMaxLimPct",), (0xFFFF,), 3),
    "beyond the end": (("end",), (1,), 2),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_leaves_no_trace(peer: Peer, made: Ders, what: str) -> None:
    (path, *more), words, code = REFUSED[what]
    address = made.layout.base + made.layout.words if path == "end" else made.layout.address(path) + sum(more)
    before = made.images.words.copy()
    assert peer.ask(writing(address, *words)) == bytes([WRITE | 0x80, code])
    assert np.array_equal(made.images.words, before)
    assert made.bank.writes == 0


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (struct.pack(">BHH", 4, 40000, 2), 2),  # input registers: a device has holding registers only
        (struct.pack(">BHH", 1, 40000, 2), 2),
        (struct.pack(">BHH", READ, 39999, 2), 2),
        (struct.pack(">BHH", READ, 40000, 126), 3),
        (struct.pack(">BHHB", WRITE, 40300, 2, 4) + b"\0\1", 3),
        (b"\x2b\x0e\x01\x00", 1),
    ],
)
def test_nonsense_has_an_answer_and_the_next_request_too(peer: Peer, made: Ders, pdu: bytes, code: int) -> None:
    peer.send(frame(1, pdu) + frame(2, reading(made.layout.base, 2)))
    assert peer.answer() == (1, 1, bytes([pdu[0] | 0x80, code]))
    assert peer.answer() == (2, 1, b"\x03\x04SunS")
