"""Reads and writes recordings: OpenMetrics text with a timestamp on every sample, as `yoloscope record` makes it.

A recording is appended to while it grows, so samples stand in order of time and families are declared where they first
appear. Every state of the file ends in `# EOF`, which the next append overwrites. `.gz` is one gzip member per append.

The reader takes what others write, too: families in any order, histogram parts as families of their own, an `instance`
label. What it cannot use it counts by reason and leaves out.
"""
