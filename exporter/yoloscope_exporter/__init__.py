"""The node exporter and the command line of yoloscope."""

__version__ = "0.1.0"

#: Where `serve` listens and the commands look for an exporter, unless told otherwise.
ADDRESS = "127.0.0.1:9911"
#: Where an exporter serves its diagnosis as JSON.
DIAGNOSIS_PATH = "/api/v1/diagnosis"
