"""The co-simulation: four mosaik simulators around the stepper's parts, arrays between them.

One entity per fleet and one array per sheet of signals; never one entity per device.
"""
