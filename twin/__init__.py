"""The twin: devices, network coupling, sensors and the stepper that is the simulated plant."""
