"""A device behind registers for tests: integers with scale factors as SunSpec has them, around a simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hil.bench.ports import Limits, Refused
from hil.bench.ranges import usual_limits
from hil.bench.simulated import World
from vpp.kernel.settings import Settings

# Functions that SunSpec's models 702 to 712 have no registers for stay out.
LACKS = ("pfp_", "np_", "rt_", "pf_basis", "cte_", "qv_vref_min", "qv_vref_max", "set_exe")
PLATE = ("s_mva", "p_max_mw", "q_inj_mvar", "q_abs_mvar", "f_nom_hz", "category")
STEPS = {"_pu": 1e-4, "_hz": 1e-3, "_s": 1e-3, "const_pf": 1e-3}


class FakeRegisters:
    """Whole numbers of a resolution; refuses a response time beyond 600 s; `mute` never answers."""

    def __init__(self, world: World) -> None:
        self.world, self.mute, self.writes = world, False, list[Mapping[str, float]]()
        names = [n for n in Settings.names if not n.startswith(LACKS)]
        self._limits = {n: replace(limits, step=self._step(n)) for n, limits in usual_limits(names).items()}
        self._plate = {n: float(getattr(world.model.nameplate, n)) for n in PLATE}

    @staticmethod
    def _step(name: str) -> float:
        return next((step for suffix, step in STEPS.items() if name.endswith(suffix)), 1e-4)

    def names(self) -> Mapping[str, Limits]:
        """Everything."""
        wide = Limits(-1e9, 1e9)
        return {**self._limits, **dict.fromkeys((*self._plate, "p_mw", "q_mvar", "vm_pu", "connect"), wide), "f_hz": wide}

    async def open(self) -> None:
        """It is there."""

    async def close(self) -> None:
        """Nothing is open."""

    async def raw(self) -> Mapping[str, str]:
        """No registers, really."""
        return {}

    async def identity(self) -> Mapping[str, str]:
        """Model 1."""
        return {"manufacturer": "ACME", "model": "Fake", "firmware": "7"}

    async def read(self, names: Sequence[str]) -> Mapping[str, float]:
        """Values as integers times their resolution."""
        if self.mute:
            await asyncio.sleep(60.0)
        reading = self.world.measure()
        held = {**self._plate, **{name: getattr(reading, name) for name in ("p_mw", "q_mvar", "vm_pu", "f_hz")}}
        held["connect"] = float(self.world.permit)
        held |= self.world.model.read([n for n in names if n in self._limits])
        return {n: round(held[n] / self._step(n)) * self._step(n) if n in self._limits else held[n] for n in names}

    async def write(self, values: Mapping[str, float]) -> None:
        """Round and adopt, all or nothing."""
        self.writes.append(dict(values))
        late = [n for n, v in values.items() if n.endswith(("_olrt_s", "_rt_s")) and v > 600.0]
        if late:
            raise Refused("fake", f"{late[0]} is out of range")
        if "connect" in values:
            self.world.permit = values["connect"] > 0
        settings = {n: round(v / self._step(n)) * self._step(n) for n, v in values.items() if n in self._limits}
        self.world.model.write(settings)
