"""Conformance suites that engines, links and devices of this project and of third parties must pass."""
