"""A master of the tests' own, octet by octet after IEEE 1815-2012; it shares nothing with `vpp.wire.dnp3` or its stacks."""

import asyncio
import struct

MASTER, OUTSTATION = 1, 10
READ, RESPONSE, UNSOLICITED = 0x01, 0x81, 0x82
CLASS_0 = "3c 01 06"  # g60v1, all


def crc(octets):
    """Clause 9.2.4.1.5: x^16+x^13+x^12+x^11+x^10+x^8+x^6+x^5+x^2+1, reflected, inverted."""
    rest = 0
    for octet in octets:
        rest ^= octet
        for _ in range(8):
            rest = rest >> 1 ^ 0xA6BC if rest & 1 else rest >> 1
    return struct.pack("<H", rest ^ 0xFFFF)


def frame(data=b"", control=0xC4, destination=OUTSTATION, source=MASTER):
    """A link frame: header of ten octets, then blocks of sixteen with their check sums (9.2.4)."""
    head = struct.pack("<BBBBHH", 0x05, 0x64, 5 + len(data), control, destination, source)
    blocks = [data[at : at + 16] for at in range(0, len(data), 16)]
    return head + crc(head) + b"".join(block + crc(block) for block in blocks)


def request(text, sequence=0, function=READ, transport=0xC0):
    """A request in one segment and one frame: transport octet (FIN, FIR), control (FIN, FIR), function, objects."""
    return frame(bytes([transport, 0xC0 | sequence, function]) + bytes.fromhex(text.replace(" ", "")))


LINK_STATUS = frame(control=0xC9)


class Raw:
    """A connection by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, address):
        return cls(*await asyncio.open_connection(*address))

    def put(self, octets):
        self.writer.write(octets)

    async def frame(self):
        """The next frame, its check sums held to ours: control and data."""
        head = await self.reader.readexactly(10)
        assert head[:2] == b"\x05\x64"
        assert head[8:] == crc(head[:8])
        assert struct.unpack("<HH", head[4:8]) == (MASTER, OUTSTATION)
        left, data = head[2] - 5, b""
        while left:
            size = min(left, 16)
            block = await self.reader.readexactly(size + 2)
            assert block[size:] == crc(block[:size])
            data, left = data + block[:size], left - size
        return head[3], data

    async def answer(self):
        """The next response: its sequence number, the two octets of IIN, and the objects."""
        whole = b""
        while True:
            _, data = await self.frame()
            if not data:
                continue
            whole += data[1:]
            if data[0] & 0x80 and whole[1] == RESPONSE:
                return whole[0] & 0x0F, whole[2:4], whole[4:]
            if data[0] & 0x80:
                whole = b""

    def close(self):
        self.writer.close()
