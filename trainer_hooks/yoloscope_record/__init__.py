"""What hooks and exporter share: the metrics of a training run, and the format, writer and reader of records.

`metrics` has the types, `catalog` the metrics. Standard library only, Python 3.8 and newer: it is imported inside the
training process.
"""
