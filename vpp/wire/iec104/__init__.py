"""IEC 60870-5-104: client and server of our own, on asyncio.

An address is written ``station:object`` (common address and information object address), ``1:4001``. What an object is
follows from the wire type: bool a single point, double_point a double point, int16 a scaled value (``1:4001:n``: a normalised
one), float32 a short floating point number, int32 an integrated total. A point that is written is the command of its kind.
"""
