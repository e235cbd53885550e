"""The node exporter and the command line of yoloscope."""

__version__ = "0.1.0"
