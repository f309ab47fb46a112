"""Import of OpenDSS scripts: a documented subset of the language, read by ourselves.

Read: circuits and voltage sources, lines and line codes, two-winding transformers and their codes, loads (models 1,
2, 5, 8), capacitors, regulator controls, load shapes; ``new``, ``edit``, ``Class.Name.property=``, ``set``,
``redirect``, ``compile``, continuations, comments, units, arithmetic in reverse Polish notation. What only solves,
shows, meters or states reliability is passed over and counted in the notes. Everything else is an error that names
file and line.
"""

from vpp.grid.dss.build import read_dss

__all__ = ["read_dss"]
