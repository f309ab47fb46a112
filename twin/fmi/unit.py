"""One running unit: instantiated, initialised, stepped, its state taken out and put back, all through fmpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twin.fmi.describe import REALS, Description, Variable
from vpp.kernel.errors import DeviceError

Value = float | int | bool | str
_DISCARD: Final = 2
# How often the same time is reached another way before it counts as reached.
_TIME_TOLERANCE: Final = 1e-9


class UnitFailed(Exception):
    """A unit refused a call; it is not to be used any more."""


def unpack(description: Description, folder: Path) -> Path:
    """Unpack a unit into a folder of its own below ``folder``, once for all of its instances."""
    import fmpy

    target = folder / f"{len(list(folder.iterdir()))}-{description.identifier}"
    try:
        fmpy.extract(str(description.path), str(target))
    except Exception as error:  # fmpy raises bare ones
        raise DeviceError(description.path.name, f"cannot be unpacked: {error}") from error
    return target


class Unit:
    """An instance of a unit. After `UnitFailed` only `close` may be called."""

    def __init__(self, description: Description, folder: Path, name: str) -> None:
        """Load and instantiate; ``folder`` is where the file was unpacked.

        Raises:
            DeviceError: the library cannot be loaded, or refuses.
        """
        from fmpy.fmi2 import FMU2Slave
        from fmpy.fmi3 import FMU3Slave

        self.description, self.name = description, name
        self._said: list[str] = []
        self._open = False
        kind = FMU2Slave if description.version == "2.0" else FMU3Slave
        try:
            self._fmu = kind(
                guid=description.token, modelIdentifier=description.identifier, unzipDirectory=str(folder), instanceName=name
            )
            self._instantiate()
        except Exception as error:  # fmpy raises bare ones
            raise DeviceError(name, f"{description.path.name} cannot be instantiated: {self._why(error)}") from error
        self._open = True

    def _instantiate(self) -> None:
        if self.description.version == "3.0":
            self._fmu.instantiate(loggingOn=True, logMessage=self._log3)
            return
        import fmpy
        from fmpy import fmi2

        callbacks = fmi2.fmi2CallbackFunctions()
        callbacks.logger = fmi2.fmi2CallbackLoggerTYPE(self._log2)
        callbacks.allocateMemory = fmi2.fmi2CallbackAllocateMemoryTYPE(fmpy.calloc)
        callbacks.freeMemory = fmi2.fmi2CallbackFreeMemoryTYPE(fmpy.free)
        self._fmu.instantiate(callbacks=callbacks, loggingOn=True)

    def _log2(self, component: Any, name: bytes, status: int, category: bytes, message: bytes) -> None:
        self._log3(component, status, category, message)

    def _log3(self, component: Any, status: int, category: bytes, message: bytes) -> None:
        """Keep the last words of a unit for the message of a failure."""
        if status >= _DISCARD and message:
            self._said = [*self._said[-2:], message.decode("utf-8", "replace").strip()]

    def _why(self, error: Exception) -> str:
        return " ".join([" ".join(str(error).split()), *self._said])

    def begin(self, start: Mapping[Variable, Value], inputs: Sequence[tuple[Variable, float]]) -> None:
        """Set start values and inputs and initialise, at time 0.

        Raises:
            DeviceError: the unit refuses its start values.
        """
        try:
            for variable, value in start.items():
                self._set(variable, value)
            if self.description.version == "2.0":
                self._fmu.setupExperiment(startTime=0.0)
                self._fmu.enterInitializationMode()
            else:
                self._fmu.enterInitializationMode(startTime=0.0)
            for variable, value in inputs:
                self._set(variable, value)
            self._fmu.exitInitializationMode()
        except Exception as error:  # fmpy raises bare ones
            raise DeviceError(self.name, f"{self.description.path.name} cannot be initialised: {self._why(error)}") from error

    def _set(self, variable: Variable, value: Value) -> None:
        getattr(self._fmu, f"set{variable.accessor}")([variable.ref], [native(variable, value)])

    def step(self, t_s: float, h_s: float, inputs: Mapping[str, tuple[list[int], list[Value]]]) -> None:
        """Set inputs (by accessor: references and values), then go from ``t_s`` to ``t_s + h_s``.

        Raises:
            UnitFailed: the unit refused, ended or stopped short.
        """
        from fmpy.fmi1 import FMICallException

        try:
            for accessor, (refs, values) in inputs.items():
                getattr(self._fmu, f"set{accessor}")(refs, values)
            done = self._fmu.doStep(t_s, h_s)
        except FMICallException as error:
            raise UnitFailed(self._why(error)) from error
        if done is not None:  # FMI 3 tells how it went
            _, ended, early, reached = done
            if ended:
                raise UnitFailed(self._why(Exception("the unit wants to end the simulation")))
            if early and reached < t_s + h_s - _TIME_TOLERANCE * max(1.0, t_s):
                raise UnitFailed(self._why(Exception(f"the unit stopped at {reached:g} s of {t_s + h_s:g} s")))

    def read(self, outputs: Mapping[str, list[int]]) -> dict[str, list[float]]:
        """Values of references, by accessor.

        Raises:
            UnitFailed: the unit refused.
        """
        from fmpy.fmi1 import FMICallException

        try:
            return {accessor: list(getattr(self._fmu, f"get{accessor}")(refs)) for accessor, refs in outputs.items()}
        except FMICallException as error:
            raise UnitFailed(self._why(error)) from error

    def state(self) -> bytes:
        """Everything inside the unit.

        Raises:
            DeviceError: it cannot be taken out.
        """
        if not self.description.keeps_state:
            raise DeviceError(self.name, f"{self.description.path.name} cannot give its state away: this run cannot be restored")
        try:
            handle = self._fmu.getFMUState()
            data: bytes = self._fmu.serializeFMUState(handle)
            self._free_state(handle)
        except Exception as error:  # fmpy raises bare ones
            raise DeviceError(self.name, f"the state cannot be taken: {self._why(error)}") from error
        return data

    def restore(self, data: bytes) -> None:
        """Go back to a state; DeviceError where the unit refuses it."""
        try:
            handle = self._fmu.deserializeFMUState(data)
            self._fmu.setFMUState(handle)
            self._free_state(handle)
        except Exception as error:  # fmpy raises bare ones
            raise DeviceError(self.name, f"the state cannot be restored: {self._why(error)}") from error

    def _free_state(self, handle: Any) -> None:
        free = self._fmu.freeFMUstate if self.description.version == "2.0" else self._fmu.freeFMUState
        free(handle)

    def close(self, *, orderly: bool = True) -> None:
        """Let the instance go; twice does no harm. A unit that failed is not asked to terminate first."""
        from fmpy.fmi1 import FMICallException

        if not self._open:
            return
        self._open = False
        if orderly:
            try:
                self._fmu.terminate()
            except FMICallException as error:
                self._said.append(str(error))
        self._fmu.freeInstance()


def native(variable: Variable, value: Value) -> Value:
    """The value as the variable's type takes it."""
    if variable.type == "String":
        return str(value)
    if variable.type == "Boolean":
        return bool(value)
    return float(value) if variable.type in REALS else round(float(value))
