"""Time series: the run directory, its differences, and the journal for replay."""
