"""Lets Python look like that of Windows or macOS to yoloscope's own modules, and to no others.

Python imports this at its start where the folder is on PYTHONPATH, in child processes too; $LOOKALIKE is the file that
says what to take away (`tests.other_systems.looks`). The rest of the process is Linux: torch and psutil do their work.

Taken away from `yoloscope_*`: modules and names that the other system lacks, by typeshed; /proc, /sys and /dev/shm.
Put in place: `sys.platform`, psutil's flags, `msvcrt` with locks that belong to handles and keep others from nothing
but locking, macOS' layout of `struct flock`. For everybody: workers are spawned; on Windows nobody can rename or remove
a file of the record directory that is open in any process, and every file is user 0's; on macOS a queue has no size.
"""

# mypy: ignore-errors
# ruff: noqa: A002, ANN001, ANN002, ANN003, ANN201, ANN202, ANN204, D107, FBT002, PERF203
# ruff: noqa: PTH100, PTH112, PTH115, PTH120, PTH208 - it is `os` that is made here

import builtins
import fcntl
import json
import os
import struct
import sys
import types
from pathlib import Path

OURS = ("yoloscope_record", "yoloscope_hooks", "yoloscope_exporter")
BELOW = ("is_open", "locking", "is_locked", "darwin_fcntl")  # what does its work by /proc
HIDDEN = ("/proc", "/sys", "/dev/shm")
LIBRARY = os.path.dirname(os.__file__)
_import = builtins.__import__
_real = {name: getattr(os, name) for name in ("unlink", "rename", "replace", "rmdir", "stat", "lstat", "fstat", "open")}


class View(types.ModuleType):
    """A module without some of its names, and with others in their place."""

    def __init__(self, module, missing=(), **changed):
        super().__init__(module.__name__)
        vars(self).update(changed)
        vars(self)["_view"] = (module, frozenset(missing))

    def __getattr__(self, name):
        module, missing = vars(self)["_view"]
        if name in missing:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} on this system")
        return getattr(module, name)

    def __setattr__(self, name, value):
        setattr(vars(self)["_view"][0], name, value)


# --- files ----------------------------------------------------------------------------------------------------------


def is_open(path):
    """Whether any process has the file open."""
    try:
        wanted = _real["stat"](path)
    except OSError:
        return False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if os.path.samestat(_real["stat"](f"/proc/{pid}/fd/{descriptor}"), wanted):
                        return True
                except OSError:
                    continue
        except OSError:
            continue
    return False


def require_closed(path):
    """Refuse what Windows refuses: to rename or remove a file that somebody has open."""
    text = os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else ""
    if text.startswith(TOLD["guarded"]) and is_open(text):
        raise PermissionError(
            13, "The process cannot access the file because it is being used by another process", text
        )


def unlink(path, *, dir_fd=None):
    require_closed(path)
    return _real["unlink"](path, dir_fd=dir_fd)


def replace(old, new, **where):
    require_closed(old)
    require_closed(new)
    return _real["replace"](old, new, **where)


def rename(old, new, **where):
    if os.path.lexists(new) and os.path.abspath(os.fsdecode(new)).startswith(TOLD["guarded"]):
        raise FileExistsError(17, "Cannot create a file when that file already exists", new)
    return replace(old, new, **where)


def anonymous(found):
    """The same without an owner."""
    fields = list(found)[:10]
    fields[4] = fields[5] = 0
    named = ("st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blksize", "st_blocks")
    return os.stat_result(fields, {name: getattr(found, name) for name in named})


def open_(path, flags, mode=0o777):
    """`os.open` of Windows: folders are refused, and there are no descriptors of them."""
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return _real["open"](path, flags, mode)


def of_shown(call):
    """A function of `os` that finds none of Linux' own file systems."""

    def called(path, *arguments, **named):
        if str(path).startswith(HIDDEN):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return call(path, *arguments, **named)

    return called


def of_paths(call):
    """A function of `os` that takes no descriptor of a folder."""

    def called(path, *arguments, **named):
        if isinstance(path, int) or "dir_fd" in named:
            raise NotImplementedError("dir_fd unavailable on this platform")
        return call(path, *arguments, **named)

    return called


def hide(event, arguments):
    """Let ours find none of Linux' own file systems."""
    if event in ("open", "os.listdir", "os.scandir") and arguments and str(arguments[0]).startswith(HIDDEN):
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith((LIBRARY, "<frozen", __file__)):
            if "site-packages" in frame.f_code.co_filename or frame.f_code.co_name in BELOW:
                return
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").startswith(OURS):
            raise FileNotFoundError(2, "No such file or directory", str(arguments[0]))


# --- locks ----------------------------------------------------------------------------------------------------------

_FLOCK = struct.Struct("=hhxxxxqqixxxx")
_DARWIN = struct.Struct("=qqihh")
_probes = {}  # descriptors that are open for reading only -> others that hold their locks


def locking(descriptor, mode, length):
    """`msvcrt.locking`: of the handle, at its position, refused within the same process too."""
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    if mode == msvcrt.LK_UNLCK:
        holder = _probes.pop((descriptor, start, length), None)
        if holder is None and (descriptor, start, length) not in _held:
            raise PermissionError(13, "Permission denied")
        _held.discard((descriptor, start, length))
        set_lock(descriptor if holder is None else holder, fcntl.F_UNLCK, start, length)
        if holder is not None:
            os.close(holder)
        return
    assert mode == msvcrt.LK_NBLCK
    for gone in [held for held in _held if held[0] == descriptor and not is_locked(*held)]:
        _held.discard(gone)  # the number was another file's
    if any(one == descriptor and at < start + length and start < at + size for one, at, size in _held | set(_probes)):
        raise PermissionError(13, "Permission denied")
    reading = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    holder = _real["open"](f"/proc/self/fd/{descriptor}", os.O_RDWR) if reading else descriptor
    try:
        set_lock(holder, fcntl.F_WRLCK, start, length)
    except OSError:
        if reading:
            os.close(holder)
        raise PermissionError(13, "Permission denied") from None
    if reading:
        _probes[descriptor, start, length] = holder
    else:
        _held.add((descriptor, start, length))


_held = set()


def close(descriptor):
    """`os.close`, which drops what the handle has locked."""
    for held in [held for held in _held if held[0] == descriptor]:
        _held.discard(held)
    os.close(descriptor)


def is_locked(descriptor, start, length):
    other = _real["open"](f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    try:
        asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
        return _FLOCK.unpack(fcntl.fcntl(other, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK
    finally:
        os.close(other)


def set_lock(descriptor, kind, start, length):
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))


msvcrt = types.SimpleNamespace(LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, locking=locking)


def darwin_fcntl(descriptor, command, argument=0):
    """`fcntl.fcntl` of macOS, as far as it is asked."""
    if command == 50:  # F_GETPATH
        return os.fsencode(os.readlink(f"/proc/self/fd/{descriptor}")).ljust(1024, b"\0")
    if command != fcntl.F_GETLK:
        return fcntl.fcntl(descriptor, command, argument)
    start, length, pid, kind, whence = _DARWIN.unpack(argument)
    found = fcntl.fcntl(descriptor, command, _FLOCK.pack(kind, whence, start, length, pid))
    kind, whence, start, length, pid = _FLOCK.unpack(found)
    return _DARWIN.pack(start, length, pid, kind, whence)


# --- modules --------------------------------------------------------------------------------------------------------


def other_os():
    """`os` as the other system has it."""
    module = types.ModuleType("os")
    access = os.access
    vars(module).update({name: value for name, value in vars(os).items() if name not in TOLD["missing"]["os"]})
    for name in {"stat", "lstat", "statvfs"} & set(vars(module)):
        setattr(module, name, of_shown(getattr(module, name)))
    module.access = lambda path, *how, **named: not str(path).startswith(HIDDEN) and access(path, *how, **named)
    if WINDOWS:
        plain = {
            name: of_paths(getattr(module, name)) for name in ("stat", "lstat", "mkdir", "rmdir", "unlink", "remove")
        }
        listing = {name: of_paths(getattr(os, name)) for name in ("listdir", "scandir")}
        vars(module).update(plain | listing | {"open": open_, "rename": rename, "replace": replace, "close": close})
    return module


def other_psutil(psutil):
    """Psutil with the other system's flags and without what it tells of Linux alone."""
    lacks = {"uids", "gids", "num_fds", "terminal", "cpu_num", "rlimit", "ionice" if MACOS else "gids"}
    lacks |= {"io_counters", "cpu_affinity"} if MACOS else set()

    class Process(psutil.Process):
        def __getattribute__(self, name):
            if name in lacks and sys._getframe(1).f_globals["__name__"].startswith(OURS):
                raise AttributeError(name)
            return super().__getattribute__(name)

    def cpu_times(percpu=False):
        found = psutil.cpu_times(percpu)
        few = (
            [types.SimpleNamespace(user=one.user, system=one.system, idle=one.idle) for one in found]
            if percpu
            else None
        )
        return few if percpu else types.SimpleNamespace(user=found.user, system=found.system, idle=found.idle)

    flags = {"LINUX": False, "WINDOWS": WINDOWS, "MACOS": MACOS, "POSIX": MACOS}
    return View(psutil, ("PROCFS_PATH",), Process=Process, cpu_times=cpu_times, **flags)


def refuse(*_arguments, **_named):
    raise NotImplementedError("the event loop of Windows has no add_reader")


def seen(name, module):
    """What ours get for a module of that name."""
    if name not in views:
        if name == "os":
            views[name] = other_os()
        elif name == "sys":
            views[name] = View(sys, platform=TOLD["platform"])
        elif name == "psutil":
            views[name] = other_psutil(module)
        elif name == "asyncio" and WINDOWS:
            views[name] = View(module, run=refuse, new_event_loop=refuse)
        elif name == "fcntl":
            views[name] = View(module, TOLD["missing"].get(name, ()), fcntl=darwin_fcntl, F_GETPATH=50)
        elif name in TOLD["missing"]:
            views[name] = View(module, TOLD["missing"][name])
        else:
            views[name] = module
    return views[name]


views = {}


def importing(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if not level and importer.startswith(OURS):
        if name.partition(".")[0] in TOLD["modules"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name == "msvcrt" and WINDOWS:
            return msvcrt
        if "." not in name:
            return seen(name, _import(name, globals, locals, fromlist, level))
    return _import(name, globals, locals, fromlist, level)


def sizeless(_queue):
    raise NotImplementedError


if os.environ.get("LOOKALIKE"):
    TOLD = json.loads(Path(os.environ["LOOKALIKE"]).read_text(encoding="utf-8"))
    WINDOWS, MACOS = TOLD["platform"] == "win32", TOLD["platform"] == "darwin"
    import multiprocessing.queues

    multiprocessing.set_start_method("spawn")
    if MACOS:
        multiprocessing.queues.Queue.qsize = sizeless
    if WINDOWS:
        os.unlink = os.remove = unlink
        os.replace, os.rename = replace, rename
        for name in ("stat", "lstat", "fstat"):
            setattr(os, name, lambda *given, _call=_real[name], **named: anonymous(_call(*given, **named)))
    builtins.__import__ = importing
    sys.addaudithook(hide)
