"""yadnp3 as a foreign outstation, in a process of its own; it creates as many points of every type as it is told."""

import opendnp3 as dnp

from tests.wire.apart import free_port, serve

HOST = "127.0.0.1"
HELD = {}


class Commands(dnp.ICommandHandler):
    """The first three outputs of each type take commands, the others are in local control."""

    def Begin(self):
        pass

    def End(self):
        pass

    def Select(self, command, index):
        return dnp.CommandStatus.SUCCESS if index < 3 else dnp.CommandStatus.LOCAL

    def Operate(self, command, index, handler, kind):
        return self.Select(command, index)


class Listener(dnp.IChannelListener):
    def OnStateChange(self, state):
        pass


def outstation(count, tls=()):
    """Listen, with TLS where (authority, certificate, key) are given: the port."""
    manager, kept = dnp.DNP3Manager(1), (Commands(), dnp.IOutstationApplication(), Listener())
    port = free_port()
    where, mode = dnp.IPEndpoint(HOST, port), dnp.ServerAcceptMode.CloseExisting
    if tls:
        config = dnp.TLSConfig(*tls)
        channel = manager.AddTLSServer("server", dnp.levels.NOTHING, mode, where, config, kept[2])
    else:
        channel = manager.AddTCPServer("server", dnp.levels.NOTHING, mode, where, kept[2])
    stack = dnp.OutstationStackConfig(dnp.DatabaseConfig(count))
    stack.link.LocalAddr, stack.link.RemoteAddr = 10, 1
    stack.outstation.eventBufferConfig = dnp.EventBufferConfig.AllTypes(100)
    stack.outstation.params.allowUnsolicited = True
    made = channel.AddOutstation("outstation", kept[0], kept[1], stack)
    made.Enable()
    HELD.update(manager=manager, kept=kept, channel=channel, made=made)
    return port


def put(index, value, flags):
    """Change an analogue."""
    builder = dnp.UpdateBuilder()
    builder.Update(dnp.Analog(value, dnp.Flags(flags)), index)
    HELD["made"].Apply(builder.Build())


def stop():
    """Let go of everything."""
    if "manager" in HELD:
        HELD["manager"].Shutdown()


if __name__ == "__main__":
    serve({f.__name__: f for f in (outstation, put, stop)})
