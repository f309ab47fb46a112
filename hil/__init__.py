"""Hardware in the loop: the tick on the wall clock, with devices behind real protocols."""
