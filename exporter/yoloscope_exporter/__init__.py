"""The node exporter and the command line of yoloscope."""

__version__ = "0.2.0"

#: Where the source lies. It is in no package index, so this is what pip installs from.
SOURCE = "https://github.com/yoloscope/yoloscope"
#: Where `serve` listens and the commands look for an exporter, unless told otherwise.
ADDRESS = "127.0.0.1:9911"
#: Where an exporter serves its diagnosis as JSON.
DIAGNOSIS_PATH = "/api/v1/diagnosis"

#: Of our own second processes: a `statistics.py` in the folder of the training is not Python's (from Python 3.11).
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def pip_install(extra: str = "") -> str:
    """The command that installs yoloscope, with one of its extras or without."""
    source = f"git+{SOURCE}"
    return "pip install " + (f"'yoloscope[{extra}] @ {source}'" if extra else source)
