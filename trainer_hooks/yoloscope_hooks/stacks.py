"""What a process does when it hangs: `faulthandler`, waiting for one real-time signal, writes it beside the record.

The handler is C code of Python's own: it runs without the interpreter's lock, in whatever the process hangs, and costs
nothing until the signal comes. Each child that is forked gets a file of its own the moment it exists, so that a
deadlock after a fork shows too; one that is spawned when it fetches its first batch.

A rank's own end is told the same way: a crash (SIGSEGV and the like), SIGTERM and SIGHUP leave a stack, the last in a
file of its own, and then do what they would have done without us. A signal that is ignored (nohup) or handled stays so.

Once installed the handler for the signal stays for the life of the process: a signal on its way must not meet the
default action, which is death. For the same reason what Python puts back at its end is to ignore the signal.
"""

from __future__ import annotations

import faulthandler
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import locks, stack_file
from yoloscope_record.system import os

from yoloscope_hooks.opt_out import stacks_disabled

if TYPE_CHECKING:
    from pathlib import Path


class _Training(NamedTuple):
    """Whose stacks they are, and where they lie."""

    directory: Path
    run: str
    rank: str


class _Word(NamedTuple):
    """A file for SIGTERM alone."""

    path: Path
    file: int


class _State:
    """What this process has: one signal, so one file."""

    training: _Training | None = None
    file = -1
    nowhere = -1  # where the signal writes to after a training: one for all trainings of a process
    process = 0
    installed = False
    crashes = -1  # where a crash writes to, if we look after crashes: one number for good, whatever lies behind it
    ends: set[int] = set()  # noqa: RUF012 - signals that end the process and leave a stack before
    hangup = -1  # where SIGHUP writes to
    word: _Word | None = None  # where SIGTERM of a process that predicts writes to while it does not train
    forks = False  # whether children are looked after


def arm(directory: Path, run: str, rank: str) -> None:
    """Let this process, and those that it forks, answer into files in `directory`, the run's.

    Not outside the main thread, nor where somebody else uses the signal, nor with YOLOSCOPE_STACKS=off.

    Raises:
        OSError: the file cannot be made.
    """
    _arm(_Training(directory, run, rank), child=False)


def arm_child(directory: Path, run: str, rank: str) -> None:
    """The same in a process that a rank has started.

    Raises:
        OSError: the file cannot be made.
    """
    _arm(_Training(directory, run, rank), child=True)


def leave_word(directory: Path, run: str, rank: str) -> None:
    """Let SIGTERM leave a stack in `directory` of a process that predicts, validates or exports: so it was stopped.

    A process has one such file, of what it began last. Not while it trains: then the signal is the training's. Nor
    where somebody else handles it, nor with YOLOSCOPE_STACKS=off.

    Raises:
        OSError: the file cannot be made.
    """
    if stack_file.signal_number() is None or stacks_disabled() or _State.training is not None:
        return
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    file = stack_file.create(directory, run, rank, threading.main_thread().ident or 0, child=False)
    try:
        _install_end(signal.SIGTERM, file)
    except BaseException:
        locks.close(file)
        raise
    before, _State.word = _State.word, _Word(directory / stack_file.filename(rank), file)
    if before is not None:
        locks.close(before.file)
    _look_after_forks()


def withdraw_word(directory: Path) -> None:
    """What is recorded in `directory` has an end, or no record any more: no SIGTERM is to be told of it."""
    word = _State.word
    if word is None or word.path.parent != directory:
        return
    _State.word = None
    if _State.training is None:
        _leave_ends()
    with suppress(OSError):
        word.path.unlink()
    locks.close(word.file)


def answers() -> bool:
    """Whether this process has a file of its own."""
    return _State.process == os.getpid() and _State.file >= 0


def note(text: str) -> None:
    """Say in this process' file what it is, if it has one."""
    if answers():
        stack_file.note(_State.file, text)


def release() -> None:
    """The training is over: the process answers no more, and its file is nobody's. Harmless when called twice."""
    number, file = stack_file.signal_number(), _State.file
    _State.training, _State.file = None, -1
    if file < 0 or number is None:
        return
    if _State.nowhere < 0:
        _State.nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # stays open: the handler keeps the number
    _lead_crashes(_State.nowhere)
    _leave_ends()
    if _State.word is not None:
        _install_end(signal.SIGTERM, _State.word.file)
    faulthandler.register(number, file=_State.nowhere, all_threads=True)
    locks.close(file)


def _arm(training: _Training, *, child: bool) -> None:
    number = stack_file.signal_number()
    if number is None or stacks_disabled() or not _may_install(number):
        return
    file = stack_file.create(training.directory, training.run, training.rank, threading.get_ident(), child=child)
    try:
        _install(number, file)
    except BaseException:
        locks.close(file)
        raise
    if not child:
        _install_ends(file, training)
    before, _State.file = _State.file, file
    _State.training, _State.process = training, os.getpid()
    if before >= 0:
        locks.close(before)
    _look_after_forks()


def _look_after_forks() -> None:
    if not _State.forks:
        os.register_at_fork(after_in_child=_after_fork)
        _State.forks = True


def _may_install(number: int) -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False  # only there may it be ignored at the end
    return _State.installed or signal.getsignal(number) == signal.SIG_DFL


def _install(number: int, file: int) -> None:
    if not _State.installed:
        signal.signal(number, signal.SIG_IGN)  # what faulthandler puts back
        try:
            faulthandler.register(number, file=file, all_threads=True)
        except BaseException:
            signal.signal(number, signal.SIG_DFL)
            raise
        _State.installed = True
    else:
        faulthandler.register(number, file=file, all_threads=True)


def _install_ends(file: int, training: _Training) -> None:
    """Let a crash, SIGTERM and SIGHUP leave the stack behind, and then do what they would have done.

    Unless somebody else looks after them. Their stack is one thread's, which begins otherwise: so it is told apart.
    """
    if _State.crashes >= 0:
        _lead_crashes(file)
    elif not faulthandler.is_enabled():
        _State.crashes = os.dup(file)
        faulthandler.enable(file=_State.crashes, all_threads=True)
    _install_end(signal.SIGTERM, file)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        with suppress(OSError):
            before, hangup = _State.hangup, stack_file.create_for_hangup(*training, threading.get_ident())
            _install_end(signal.SIGHUP, hangup)
            _State.hangup = hangup
            if before >= 0:
                locks.close(before)


def _install_end(number: int, file: int) -> None:
    if signal.getsignal(number) == signal.SIG_DFL:
        faulthandler.register(number, file=file, all_threads=False, chain=True)
        _State.ends.add(number)


def _lead_crashes(file: int) -> None:
    """Let crashes write there, without touching a handler that somebody may have put in place of ours since."""
    if _State.crashes >= 0:
        os.dup2(file, _State.crashes, inheritable=False)


def _leave_ends() -> None:
    """Put back what there was, unless somebody has put a handler of their own there since."""
    while _State.ends:
        number = _State.ends.pop()
        if signal.getsignal(number) == signal.SIG_DFL:
            faulthandler.unregister(number)
    hangup, _State.hangup = _State.hangup, -1
    if hangup >= 0:
        locks.close(hangup)


def _after_fork() -> None:
    """In a child, before anything else runs there: what it inherited writes into its parent's file."""
    with suppress(Exception):
        training, inherited = _State.training, _State.file
        _State.file, word, _State.word = -1, _State.word, None
        _leave_ends()  # workers are ended by SIGTERM every day
        if word is not None:
            os.close(word.file)
        if training is None or inherited < 0:
            return
        number = stack_file.signal_number()
        if number is None:
            return
        file = stack_file.create(training.directory, training.run, training.rank, threading.get_ident(), child=True)
        faulthandler.register(number, file=file, all_threads=True)
        _lead_crashes(file)
        _State.file, _State.process = file, os.getpid()
        os.close(inherited)
