"""Recordings: OpenMetrics with timestamps, written and read."""
