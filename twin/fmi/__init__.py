"""Functional mock-up units (FMI 2.0 and 3.0, co-simulation): what they say of themselves, and how one is stepped."""
