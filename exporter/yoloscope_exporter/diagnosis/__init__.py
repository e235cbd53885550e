"""Signals to verdicts to advice."""
