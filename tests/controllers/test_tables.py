import inspect

import pytest

from controllers import GUARDS, PROPOSERS
from vpp.kernel.fleet import simple_fleet
from vpp.kernel.groups import Groups
from vpp.kernel.ports import Safe


@pytest.mark.parametrize("use", [*PROPOSERS, *GUARDS])
def test_every_controller_is_built_alike_from_a_fleet_and_parameters(use):
    fleet = simple_fleet([-1.0], [1.0], groups=Groups.from_names({"pcc": None}, ["pcc"]))
    make = {**PROPOSERS, **GUARDS}[use]
    controller = make(fleet)
    assert controller.name == use
    assert isinstance(controller.safe, Safe)
    assert controller.safe is Safe.WITHDRAW or use in GUARDS
    assert make(fleet, name="other").name == "other"
    assert next(iter(inspect.signature(make).parameters)) == "fleet"
    controller.restore(controller.state())
