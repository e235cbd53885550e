"""Days of a cluster as promtool sees them: healthy ones that look ill, and faults."""
