"""What the hooks and the exporter agree on: the metrics of a training and the files that carry them.

`metrics` has the types, `catalog` the metrics. Standard library only, Python 3.8 and newer: it is imported inside the
training process.
"""
