"""c104 as a peer, in a process of its own; it is under GPLv3 and never imported by what we ship.

Objects of station 1, as `tests.wire.iec104.test_iec104` has them: 256 a float, 257 a single point, 512 a setpoint.
"""

import c104

from tests.wire.apart import free_port, serve

HOST = "127.0.0.1"
HELD = {}
ASKED = []


def security(certificate, key, authority):
    tls = c104.TransportSecurity(validate=True, only_known=False)
    tls.set_certificate(certificate, key)
    tls.set_ca_certificate(authority)
    tls.set_version(min=c104.TlsVersion.TLS_1_2, max=c104.TlsVersion.TLS_1_2)
    return tls


def server(tls=()):
    """A server with 1.5 and on; it takes setpoints up to 1. Its port."""
    made = c104.Server(HOST, free_port(), tick_rate_ms=50, transport_security=security(*tls) if tls else None)
    station = made.add_station(1)
    power, switch = station.add_point(256, c104.Type.M_ME_NC_1), station.add_point(257, c104.Type.M_SP_NA_1)
    power.value, switch.value = 1.5, True
    setpoint = station.add_point(512, c104.Type.C_SE_NC_1)

    def told(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
        ASKED.append(point.value)
        return c104.ResponseState.SUCCESS if point.value <= 1.0 else c104.ResponseState.FAILURE

    setpoint.on_receive(callable=told)
    made.start()
    HELD.update(made=made, station=station, points=(power, switch, setpoint), told=told)
    return made.port


def asked():
    """The setpoints that came."""
    return ASKED


def client(port):
    """A client that interrogates."""
    made = c104.Client(tick_rate_ms=50, command_timeout_ms=5000)
    connection = made.add_connection(ip=HOST, port=port, init=c104.Init.INTERROGATION)
    station = connection.add_station(1)
    power, switch = station.add_point(256, c104.Type.M_ME_TF_1), station.add_point(257, c104.Type.M_SP_TB_1)
    setpoint = station.add_point(512, c104.Type.C_SE_NC_1)
    made.start()
    HELD.update(made=made, connection=connection, station=station, points=(power, switch, setpoint))


def values():
    """Float, single point, and the time of the float in seconds of UTC as c104 tells it, naive."""
    power, switch, _ = HELD["points"]
    if HELD["connection"].state == c104.ConnectionState.OPEN_MUTED:
        HELD["connection"].unmute()  # c104 2.2.1 may hang there after connecting
    return power.value, switch.value, power.recorded_at.isoformat() if power.recorded_at else ""


def transmit(value):
    """Give the setpoint: whether it was taken."""
    setpoint = HELD["points"][2]
    setpoint.value = value
    return setpoint.transmit(c104.Cot.ACTIVATION)


def stop():
    """Let go of everything."""
    if "made" in HELD:
        HELD["made"].stop()


def crash():
    """End as a native library does."""
    import ctypes

    ctypes.string_at(0)


if __name__ == "__main__":
    serve({f.__name__: f for f in (server, asked, client, values, transmit, crash, stop)})
