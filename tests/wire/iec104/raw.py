"""A peer of the tests' own, octet by octet after the standard; it shares nothing with `vpp.wire.iec104`."""

import asyncio
import struct

STARTDT, STARTDT_CON = "680407000000", "68040b000000"
TESTFR, TESTFR_CON = "680443000000", "680483000000"


class Raw:
    """A client by hand: whole frames in and out, sequence numbers counted here."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.sent = self.received = 0

    @classmethod
    async def connect(cls, address, start=True):
        raw = cls(*await asyncio.open_connection(*address))
        if start:
            raw.put(STARTDT)
            assert (await raw.frame()).hex() == STARTDT_CON
        return raw

    def put(self, text):
        self.writer.write(bytes.fromhex(text.replace(" ", "")))

    def ask(self, *texts):
        """Send ASDUs, each in an I frame, all in one segment."""
        frames = []
        for text in texts:
            body = bytes.fromhex(text.replace(" ", ""))
            numbers = struct.pack("<HH", self.sent << 1, self.received << 1)
            frames.append(bytes([0x68, len(body) + 4]) + numbers + body)
            self.sent += 1
        self.writer.write(b"".join(frames))

    async def frame(self):
        head = await self.reader.readexactly(2)
        assert head[0] == 0x68
        return head + await self.reader.readexactly(head[1])

    async def asdu(self):
        """The next ASDU, acknowledged at once; other frames are passed over."""
        while True:
            frame = await self.frame()
            if frame[2] & 1 == 0:
                assert struct.unpack("<H", frame[2:4])[0] >> 1 == self.received
                self.received += 1
                self.writer.write(bytes([0x68, 4, 1, 0]) + struct.pack("<H", self.received << 1))
                return frame[6:]

    async def ended(self):
        """Whether the server hung up."""
        try:
            while await self.reader.read(4096):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self.writer.close()
