"""Power-flow engines behind one port; :func:`vpp.grid.powerflow.choose.choose` picks one."""

from vpp.grid.powerflow.choose import ENGINES, check_first_solve, choose
from vpp.grid.powerflow.port import BatchSolution, PowerFlow, Solution, Unsuitable

__all__ = ["ENGINES", "BatchSolution", "PowerFlow", "Solution", "Unsuitable", "check_first_solve", "choose"]
