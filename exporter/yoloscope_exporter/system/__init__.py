"""What differs by operating system for the exporter and its commands: nobody else here asks which one it is.

`os` is that of `yoloscope_record.system`: on Linux and macOS Python's own, on Windows with what is missing there. What
is exported, and what it means, stands in `system.posix`.

What a machine has or lacks beside that is asked of psutil and of the files themselves: a source that is not there is
told as such, and never as 0.
"""

import sys

from yoloscope_record.system import os as os

if sys.platform == "win32":
    from yoloscope_exporter.system.windows import *
else:
    from yoloscope_exporter.system.posix import *
