"""The test bench: the procedures of IEEE 1547.1 that can be automated, against a model, an emulator or hardware.

`ports` says what a laboratory consists of, `simulated`, `scpi` and `wire` fill it; `expected` says what is allowed,
`procedures` what is done, `session` does it and puts everything back, `results`, `figures` and `page` tell what came out.
`plugin` makes a pytest test of every row.
"""
