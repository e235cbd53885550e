"""Windows and macOS, as far as they can be had on Linux: what they lack is taken away, look-alikes are in its place."""
