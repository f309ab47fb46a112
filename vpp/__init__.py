"""VPP Core: a digital twin of a virtual power plant."""

__version__ = "0.1.0"
