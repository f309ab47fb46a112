"""The vocabulary and the ports of VPP Core; numpy and numba only.

The border between controllers and plant (``docs/adr/0001-the-border.md``) is `tick.decide`.
"""
