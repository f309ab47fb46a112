"""DNP3 (IEEE 1815-2012): yadnp3 as the master, in a worker process; dnp3py as the outstation.

An address is written ``kind:index``, the kind BI (binary input), DB (double-bit input), BO (binary output), CT (counter),
AI (analogue input) or AO (analogue output): ``AI:537``, ``BO:17``. A command goes to BO (a control relay output block) or
AO (a setpoint); the same address read is the output's status. Analogues are whole numbers, scaled by the point table
(IEEE 1815.2), because the stacks lose what stands behind the point.
"""
