"""Alerts and ends of runs as messages to people: rendered, queued on disk, and sent through Apprise."""
