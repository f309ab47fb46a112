"""Emulated bench devices for tests: a model behind SunSpec registers, and a laboratory around it over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hil.bench.address import laboratory_at
from hil.bench.device import DeviceServer, DeviceWorld, serving
from hil.bench.laboratory import Laboratory
from hil.bench.procedures import procedures_for
from hil.bench.results import Outcome, Verdict
from hil.bench.session import Session, run_all
from hil.bench.simulated import Model
from scenarios.bench import InverterModel


@contextmanager
def device(model: Model | None = None, *, free_running: bool = False) -> Iterator[DeviceServer]:
    """A device at free ports of this machine."""
    with serving(DeviceServer(DeviceWorld(model or InverterModel()), free_running=free_running)) as server:
        yield server


@contextmanager
def bench(server: DeviceServer, without: tuple[str, ...] = ()) -> Iterator[Laboratory]:
    """Its laboratory, some instruments left out."""
    place, _, options = server.address().partition("?")
    kept = [option for option in options.split("&") if option.partition("=")[0] not in without]
    with laboratory_at(f"{place}?{'&'.join(kept)}") as lab:
        yield lab


def verdicts(lab: Laboratory, *suites: str) -> list[Verdict]:
    """Run suites; everything is put back."""
    with Session(lab) as session:
        run_all(session, procedures_for(lab.eut, suites))
    assert session.troubles == []
    assert session.after == session.before
    return session.verdicts


def first_failure(lab: Laboratory, suite: str) -> Verdict | None:
    """Run a suite until a row fails."""
    with Session(lab) as session:
        for procedure in procedures_for(lab.eut, (suite,)):
            for k in range(len(procedure.rows)):
                verdict = session.verdict(procedure, k)
                if verdict.outcome is Outcome.FAILED:
                    return verdict
    return None


def unadopted(world: DeviceWorld) -> None:
    """A mistake of the interface: curves are adopted in words only."""
    world.ders.bank._adopt = lambda row, model, curve: world.ders.bank.set(row, f"{model}.{_stem(model)}Rslt", 1.0)  # type: ignore[method-assign]


def _stem(model: int) -> str:
    return "AdptCtl" if model == 711 else "AdptCrv"


def reversed_vars(world: DeviceWorld) -> None:
    """A mistake of the interface: reactive power is measured with the other sign."""
    publish = world.publish

    def wrong() -> None:
        publish()
        images = world.ders.images
        images.put("701.Var", -images.get("701.Var"))
        images.put("701.W", images.get("701.W") * 0.9)

    world.publish = wrong  # type: ignore[method-assign]


def deaf(world: DeviceWorld) -> None:
    """A mistake of the interface: the limit is written and read back, and never reaches the inverter."""
    settings = world.ders.settings
    world.ders.settings = lambda: {**settings(), "ap_limit_enable": settings()["ap_limit_enable"] * 0.0}  # type: ignore[method-assign]
