"""IEC 61850 MMS (IEC 61850-8-1): client and server on asyncio, with open61850's encodings, model, report and control engines.

An address is ``LD/LN.DO.DA[FC]``: ``DER1/MMXU1.TotW.mag.f[MX]``, the logical device as it is called on the wire. A point that
is written is a control, ``DER1/DWMX1.WLimSpt.Oper.ctlVal.f[CO]``, given as the object's control model says, or a setting,
``DER1/DWMX1.RvrtTms.setVal[SP]``. Quality and time are the ``q`` and ``t`` beside the value; nobody has to name them.
"""
