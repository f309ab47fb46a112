"""What stands on a device's wire beside the setpoints themselves: switches, leases, signs of life."""

from __future__ import annotations

from vpp.kernel.signals import Signal, Signals


class Control(Signals):
    """How a device is made to take its setpoints, and to let go of them by itself."""

    __slots__ = ()
    p_limit_on = Signal("1", "1 while the limit of active power holds")
    p_follow_on = Signal("1", "1 while the device follows a setpoint of active power")
    q_follow_on = Signal("1", "1 while the device follows a setpoint of reactive power")
    p_limit_lease_s = Signal("s", "time after which the limit of active power ends by itself unless it is renewed; 0: never")
    p_follow_lease_s = Signal("s", "time after which following active power ends by itself unless it is renewed; 0: never")
    q_follow_lease_s = Signal("s", "time after which following reactive power ends by itself unless it is renewed; 0: never")
    p_follow_as = Signal("1", "code that says how the setpoint of active power is counted; a constant of the device")
    q_follow_as = Signal("1", "code that says how the setpoint of reactive power is counted; a constant of the device")
    heartbeat = Signal("1", "a counter that the device must see moving")
    remote = Signal("1", "1 where the device takes commands from afar, 0 where somebody works at it")
