"""libiec61850 as a foreign server, in a process of its own: it may fault in the interpreter's end, and is under GPLv3.

It takes its port as an argument, and on standard input ``power W`` and ``end``; it prints every command that it executes. The
model is made by calls, so that nothing of ours is in it. Commands beyond 1 fail in the check, beyond 0.9 in the execution.
"""

import os
import sys
import time

from pyiec61850 import pyiec61850 as p

PLAIN = 0x7F & ~p.TRG_OPT_TRANSIENT


def number(value):
    """The value of a command: an analogue value has it in its first member; a selection by reading has none."""
    if value is None:
        return 0.0
    if p.MmsValue_getType(value) == p.MMS_BOOLEAN:
        return float(p.MmsValue_getBoolean(value))
    inner = p.MmsValue_getElement(value, 0) if p.MmsValue_getType(value) == p.MMS_STRUCTURE else value
    return p.MmsValue_toFloat(inner)


class Check(p.CheckHandlerForPython):
    def __init__(self):
        p.CheckHandlerForPython.__init__(self)

    def trigger(self):
        bad = number(self._libiec61850_mms_value) > 1.0
        if bad:
            p.ControlAction_setAddCause(self._libiec61850_control_action, p.ADD_CAUSE_BLOCKED_BY_INTERLOCKING)
        self._libiec61850_check_handler_result = p.CONTROL_OBJECT_ACCESS_DENIED if bad else p.CONTROL_ACCEPTED


class Act(p.ControlHandlerForPython):
    def __init__(self, name):
        p.ControlHandlerForPython.__init__(self)
        self.name = name

    def trigger(self):
        value = number(self._libiec61850_mms_value)
        failed = 0.9 < value < 1.0
        if failed:
            p.ControlAction_setAddCause(self._libiec61850_control_action, p.ADD_CAUSE_BLOCKED_BY_HEALTH)
        else:
            print("did", self.name, round(value, 6), flush=True)
        self._libiec61850_control_handler_result = p.CONTROL_RESULT_FAILED if failed else p.CONTROL_RESULT_OK


def main():
    model = p.IedModel_create("IED")
    device = p.LogicalDevice_create("LD0", model)
    lln0 = p.LogicalNode_create("LLN0", device)
    for name in ("Mod", "Beh", "Health"):
        p.CDC_ENS_create(name, p.toModelNode(lln0), 0)
    mmxu = p.LogicalNode_create("MMXU1", device)
    power = p.CDC_MV_create("TotW", p.toModelNode(mmxu), 0, False)
    p.CDC_MV_create("TotVAr", p.toModelNode(mmxu), 0, False)
    node = p.LogicalNode_create("GGIO1", device)
    analogue, single = p.CDC_CTL_OPTION_ORIGIN | p.CDC_CTL_OPTION_CTL_NUM, p.CDC_CTL_OPTION_ORIGIN
    objects = {
        "AnOut1": p.CDC_APC_create("AnOut1", p.toModelNode(node), analogue, p.CDC_CTL_MODEL_DIRECT_NORMAL, False),
        "AnOut2": p.CDC_APC_create(
            "AnOut2", p.toModelNode(node), analogue, p.CDC_CTL_MODEL_SBO_ENHANCED | p.CDC_CTL_MODEL_HAS_CANCEL, False
        ),
        "SPCSO1": p.CDC_SPC_create("SPCSO1", p.toModelNode(node), single, p.CDC_CTL_MODEL_SBO_NORMAL),
    }
    data_set = p.DataSet_create("ds", lln0)
    p.DataSetEntry_create(data_set, "MMXU1$MX$TotW", -1, None)
    p.DataSetEntry_create(data_set, "MMXU1$MX$TotVAr$mag$f", -1, None)
    fields = p.RPT_OPT_SEQ_NUM | p.RPT_OPT_TIME_STAMP | p.RPT_OPT_REASON_FOR_INCLUSION
    for buffered in (False, True):
        name = "brcb01" if buffered else "urcb01"
        p.ReportControlBlock_create(name, lln0, None, buffered, "ds", 1, PLAIN, fields, 0, 0)
    server = p.IedServer_create(model)
    models = {"AnOut1": 1, "AnOut2": 4, "SPCSO1": 2}
    kept = []
    for name, node in objects.items():
        model_of = p.toDataAttribute(p.ModelNode_getChild(p.toModelNode(node), "ctlModel"))
        p.IedServer_updateInt32AttributeValue(server, model_of, models[name])
        subscriber, act, check = p.ControlSubscriberForPython(), Act(name), Check()
        subscriber.setIedServer(server)
        subscriber.setControlObject(node)
        subscriber.setControlHandler(act)
        subscriber.setCheckHandler(check)
        subscriber.subscribe()
        kept += [subscriber, act, check]
    p.IedServer_start(server, int(sys.argv[1]))
    print("up" if p.IedServer_isRunning(server) else "down", flush=True)
    below = {name: p.toDataAttribute(p.ModelNode_getChild(p.toModelNode(power), name)) for name in ("q", "t")}
    value = p.toDataAttribute(p.ModelNode_getChild(p.ModelNode_getChild(p.toModelNode(power), "mag"), "f"))
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "end":
            break
        p.IedServer_lockDataModel(server)
        p.IedServer_updateUTCTimeAttributeValue(server, below["t"], int(rest[1]))
        p.IedServer_updateQuality(server, below["q"], int(rest[2]))
        p.IedServer_updateFloatAttributeValue(server, value, float(rest[0]))
        p.IedServer_unlockDataModel(server)
        print("set", flush=True)
    p.IedServer_stop(server)
    time.sleep(0.05)
    os._exit(0)


main()
