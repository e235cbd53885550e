"""What differs by operating system, for the record and for the hooks: nobody else here asks which one it is.

On Linux these are the kernel's calls as they are, and `os` is Python's own module. macOS lacks a few of them; Windows
most: there `os` is Python's module with the missing ones put in their place, by what means the same for a record.

What is exported, and what it means, stands in `system.linux`.
"""

import sys

if sys.platform == "win32":
    from yoloscope_record.system.windows import *
elif sys.platform == "darwin":
    from yoloscope_record.system.macos import *
else:
    from yoloscope_record.system.linux import *
