"""From the stacks of all processes of a run to the one that the others wait for. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record.file_format import clean

from yoloscope_exporter.catalog import FINAL, HANG_FACTS, KILLED, hang_in_words
from yoloscope_exporter.collectors.stacks.process import STOPPED, UNINTERRUPTIBLE, ZOMBIE
from yoloscope_exporter.language import Text, joined, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from yoloscope_exporter.collectors.stacks.dump import Dump, Frame, Thread
    from yoloscope_exporter.collectors.stacks.inquiry import Answer, Rank

#: What a stack is doing, by who else it waits for.
PEERS, WORKERS, WORK, ITSELF = "peers", "workers", "work", "itself"
NO_ANSWER = text("no answer")
GROUPS, MOST_NAMES = 8, 4  # that are told


class Hang(NamedTuple):
    """Where a run stands still.

    Attributes:
        rank: whose process keeps the others waiting; empty where no one is to blame: all wait.
        process: which of the rank's processes.
        doing: what it does, in words.
        function, file, line: the call that says most, of who waits where the process itself did not answer.
        others: what the other processes do, equal ones together.
        pid: of the process, as the exporter sees it; 0 if it is gone.
    """

    rank: str
    process: str
    doing: str
    function: str
    file: str
    line: str
    others: str
    pid: int = 0

    @property
    def silent(self) -> bool:
        """Whether somebody who could answer does not: asked again, later, they may."""
        return not self.function and not self.doing.startswith(("stopped", "gone", "stuck"))

    @property
    def labels(self) -> tuple[str, ...]:
        """Values of HANG_FACTS."""
        pid = str(self.pid) if self.pid else ""
        facts = (self.rank, self.process, pid, self.doing, self.function, self.file, self.line, self.others)
        return tuple(clean(fact) for fact in facts)

    def __str__(self) -> str:
        """For people."""
        return hang_in_words(dict(zip(HANG_FACTS, self.labels, strict=True)))


class _Doing(NamedTuple):
    """What a stack says: whom it waits for, in words what it does, and the call that says most."""

    waits_for: str
    words: str
    frame: Frame | None


class _Activity(NamedTuple):
    """A call that tells what goes on below it."""

    file: str  # how the path ends
    function: str  # a pattern
    words: str  # a text, with `{function}`
    waits_for: str = ITSELF


_TAKING = _Activity("torch/utils/data/dataloader.py", "_try_get_data", "waiting for its loader", WORKERS)
#: Waiting for others, where it is the innermost call that is not of Python's own library.
_WAITS = (
    _TAKING,
    _Activity("torch/utils/data/dataloader.py", r"_get_data|_next_data", "waiting for its loader", WORKERS),
    _Activity("torch/utils/data/_utils/worker.py", "_worker_loop", "idle, waiting for work", WORK),
    _Activity("torch/distributed/distributed_c10d.py", "init_process_group|new_group", "waiting in {function}", PEERS),
    _Activity("torch/distributed/distributed_c10d.py", ".+", "in the collective {function}", PEERS),
    _Activity("torch/distributed/rendezvous.py", ".+", "waiting for the other ranks", PEERS),
    _Activity("torch/autograd/graph.py", "_engine_run_backward", "in backward", PEERS),
    _Activity("torch/autograd/__init__.py", "backward", "in backward", PEERS),
    _Activity("torch/_tensor.py", "backward", "in backward", PEERS),
    _Activity("torch/nn/parallel/distributed.py", ".+", "in DDP's {function}", PEERS),
)
#: Stages of a training, the outermost call that is one of these.
_STAGES = (
    _Activity("yoloscope_hooks/other_callbacks.py", "__call__", "a callback"),
    _Activity("ultralytics/utils/checks.py", "check_amp", "the AMP check"),
    _Activity("ultralytics/utils/autobatch.py", ".+", "AutoBatch"),
    _Activity("ultralytics/engine/validator.py", "__call__", "validation"),
    _Activity("torch/autograd/graph.py", "_engine_run_backward", "backward"),
    _Activity("torch/optim/optimizer.py", ".+", "the optimizer"),
    _Activity("ultralytics/engine/trainer.py", "save_model", "saving a checkpoint"),
    _Activity("ultralytics/engine/trainer.py", "_setup_train", "set-up"),
)
_LIBRARY = re.compile(r"(^<frozen .*>$)|/lib(64)?/python3\.\d+/(?!(site|dist)-packages/)")
_PACKAGES = re.compile(r".*/(?:site|dist)-packages/")
_THREADING = re.compile(r"/python3\.\d+/threading\.py$")
_POOL = re.compile(r"/python3\.\d+/(multiprocessing/pool|concurrent/futures/(_base|thread))\.py$")
_OURS = ("/yoloscope_hooks/", "/yoloscope_record/")


def find(ranks: Sequence[Rank], answers: Sequence[Answer]) -> Hang | None:
    """The culprit, and what everybody does; None if nothing is known."""
    gone = [rank for rank in ranks if rank.state in (*FINAL, KILLED) and not rank.pid]
    if gone and len(gone) < len(ranks):
        ended = text("gone: the process has {ends}; the others wait for it", ends=_ENDS[gone[0].state])
        where = _waiting(answers) or next((_doing(answer).frame for answer in answers if answer.name == "main"), None)
        return Hang(gone[0].rank, "main", ended, *_place(where), _summary(answers, len(ranks)))
    answer = _culprit(answers)
    if answer is None:
        return _unaccountable(answers)
    told = _doing(answer)
    words: str = told.words
    frame = told.frame
    waiting = _waiting(other for other in answers if other is not answer)
    if frame is None and waiting is not None:  # it does not answer: where it is waited for
        words, frame = text("{words}; the others wait for it", words=words), waiting
    others = _summary([other for other in answers if other is not answer], len(ranks))
    return Hang(answer.rank, answer.name, words, *_place(frame), others, answer.pid)


_ENDS = {"finished": text("finished"), "failed": text("ended with an exception"), "killed": text("been killed")}


def _place(frame: Frame | None) -> tuple[str, str, str]:
    return (frame.function, frame.file, str(frame.line or "")) if frame else ("", "", "")


def _waiting(answers: Iterable[Answer]) -> Frame | None:
    """Where a rank waits for another process."""
    told = (_doing(answer) for answer in answers if answer.name == "main")
    return next((one.frame for one in told if one.waits_for in (PEERS, WORKERS)), None)


def _culprit(answers: Sequence[Answer]) -> Answer | None:
    """Who waits for nobody else, in the order of how sure that is."""
    mains = [answer for answer in answers if answer.name == "main"]
    if stopped := [answer for answer in answers if answer.state in STOPPED]:
        return stopped[0]
    if stuck := [answer for answer in mains + _workers(answers, mains) if answer.state == UNINTERRUPTIBLE]:
        return stuck[0]
    kinds = {answer.pid: _doing(answer).waits_for for answer in mains}
    if busy := [answer for answer in mains if kinds[answer.pid] == ITSELF]:
        return busy[0]
    for main in [answer for answer in mains if kinds[answer.pid] == WORKERS]:
        return _culprit_worker(answers, main) or main
    return _odd_one(mains)


def _odd_one(mains: Sequence[Answer]) -> Answer | None:
    """Of ranks that all wait, the one that does so elsewhere than each step does: in backward, in DDP."""
    found = sorted(groups(mains), key=lambda group: (len(group[1]), group[0].startswith(("in backward", "in DDP's"))))
    return found[0][1][0] if len(found) > 1 else None


def _workers(answers: Sequence[Answer], mains: Sequence[Answer]) -> list[Answer]:
    """The processes of ranks that wait for their loaders."""
    waiting = {main.rank for main in mains if _doing(main).waits_for == WORKERS}
    return [answer for answer in answers if answer.name != "main" and answer.rank in waiting]


def _culprit_worker(answers: Sequence[Answer], main: Answer) -> Answer | None:
    """A worker that is at work on a batch, or whose batch does not get out of it."""
    workers = [answer for answer in answers if answer.rank == main.rank and answer.name != "main"]
    at_work = [answer for answer in workers if answer.dump and _doing(answer).waits_for == ITSELF]
    silent = [answer for answer in workers if answer.dump is None and answer.state not in ("", ZOMBIE)]
    return next(iter([*at_work, *silent]), None)


def _unaccountable(answers: Sequence[Answer]) -> Hang | None:
    """All wait for each other: a GPU or the network holds them up, or what they do does not show."""
    mains = [answer for answer in answers if answer.name == "main" and answer.dump]
    if not mains:
        return None
    told = _doing(mains[0])
    everybody = text("the rank waits") if len(mains) == 1 else text("all {mains} ranks wait", mains=len(mains))
    words = text(
        "{everybody}, {words}: for the GPU, the network or another node", everybody=everybody, words=told.words
    )
    return Hang("", "", words, *_place(told.frame), "")


# --- one stack ------------------------------------------------------------------------------------------------------


def _doing(answer: Answer) -> _Doing:
    """What a process does, from its stacks and from what the kernel says of it."""
    if answer.state in STOPPED:
        return _Doing(ITSELF, text("stopped (SIGSTOP, or a debugger)"), None)
    stuck = text("stuck in the kernel, {waits_in}", waits_in=answer.waits_in or text("in uninterruptible sleep"))
    if answer.dump is None or answer.dump.main is None:
        words = stuck if answer.state == UNINTERRUPTIBLE else answer.waits_in or NO_ANSWER
        return _Doing(ITSELF, words, None)
    thread = _at_fault(answer.dump)
    frames = thread.frames
    innermost = next((frame for frame in frames if not _LIBRARY.search(frame.file)), frames[0])
    wait = _wait(frames, innermost)
    if wait is not None:
        return _Doing(wait.waits_for, text(wait.words, function=innermost.function), _told(frames, innermost))
    stage = _stage(frames)
    if answer.state == UNINTERRUPTIBLE:
        words = stuck
    elif answer.waits_in and thread is answer.dump.main:
        words = answer.waits_in
    else:
        words = text("computing") if answer.state == "R" else ""
    told = joined((text("in {stage}", stage=stage) if stage else "", words), ", ")
    return _Doing(ITSELF, told or text("standing still"), innermost)


def _stage(frames: Sequence[Frame]) -> str:
    """What of a training it is in; of a worker nothing: it was forked in the middle of some stage of its parent's."""
    if any(_matches(wait, frame) for frame in frames for wait in _WAITS if wait.waits_for == WORK):
        return ""
    return next((text(stage.words) for frame in reversed(frames) for stage in _STAGES if _matches(stage, frame)), "")


def _at_fault(found: Dump) -> Thread:
    """The main thread, unless it waits for another one that has something in hand.

    A pool of threads reads labels and caches images, and on CUDA hooks of backward run in threads of autograd's own.
    """
    main = found.main or found.threads[-1]
    innermost = main.frames[0]
    if any(_matches(wait, innermost) for wait in _WAITS if wait.waits_for == PEERS):
        active = [thread for thread in found.others if any("torch/autograd" in frame.file for frame in thread.frames)]
    elif _POOL.search(next((f.file for f in main.frames if not _THREADING.search(f.file)), "")):
        active = [thread for thread in found.others if not _LIBRARY.search(thread.frames[0].file)]
    else:
        active = []
    return active[0] if active else main


def _matches(activity: _Activity, frame: Frame) -> bool:
    return frame.file.endswith(activity.file) and re.fullmatch(activity.function, frame.function) is not None


def _wait(frames: Sequence[Frame], innermost: Frame) -> _Activity | None:
    """What it waits in: a batch also while it is taken over from the worker, piece by piece."""
    found = next((wait for wait in _WAITS if _matches(wait, innermost)), None)
    return found or next((_TAKING for frame in frames if _matches(_TAKING, frame)), None)


def waits_for(frames: Sequence[Frame]) -> str:
    """Whom a stack waits for: one of PEERS, WORKERS, WORK, ITSELF."""
    innermost = next((frame for frame in frames if not _LIBRARY.search(frame.file)), None)
    wait = _wait(frames, innermost) if innermost else None
    return wait.waits_for if wait else ITSELF


def own_call(frames: Sequence[Frame]) -> Frame | None:
    """The innermost call of the user's own code: neither Python's own nor of an installed package, nor ours."""
    return next((f for f in frames if not _LIBRARY.search(f.file) and not _PACKAGES.match(f.file)), None)


def _told(frames: Sequence[Frame], innermost: Frame) -> Frame:
    """Of a stack that waits: who called what waits, the innermost call that is neither Python's, torch's nor ours."""
    plumbing = (*_OURS, "/torch/")
    own = (f for f in frames if not _LIBRARY.search(f.file) and not any(part in f.file for part in plumbing))
    return next(own, innermost)


def short(file: str) -> str:
    """A path from its package on."""
    return _PACKAGES.sub("", file)


def place(frame: Frame | None) -> str:
    """A call for people."""
    return f"{frame.function} ({short(frame.file)}:{frame.line or '?'})" if frame else ""


# --- all of them ----------------------------------------------------------------------------------------------------


def groups(answers: Iterable[Answer]) -> list[tuple[str, list[Answer]]]:
    """Processes that do the same together, the largest group first: what they do, and who they are."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        told = _doing(answer)
        where = place(told.frame)
        found.setdefault(joined((told.words, where), ": "), []).append(answer)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _summary(answers: Sequence[Answer], ranks: int) -> str:
    """What these of a run with so many ranks do, as `7 of 8 ranks in backward: ...`; idle workers are left out."""
    mains = [answer for answer in answers if answer.name == "main"]
    parts = [_counted(words, who, ranks) for words, who in groups(mains)]
    workers = [answer for answer in answers if answer.name != "main" and _doing(answer).waits_for != WORK]
    parts += [text("{names} {words}", names=_names(who), words=words) for words, who in groups(workers)]
    more = len(parts) - GROUPS
    return joined((*parts[:GROUPS], text("and {more} more", more=more) if more > 0 else ""))


def _counted(words: str, who: Sequence[Answer], of: int) -> str:
    if of == 1 or len(who) == 1:
        return text("rank {rank} {words}", rank=who[0].rank, words=words)
    return text("{who} of {of} ranks {words}", who=len(who), of=of, words=words)


def _names(who: Sequence[Answer]) -> str:
    """`rank 0: worker 1, worker 2`."""
    ranks = Counter(answer.rank for answer in who)
    return joined((_of_rank(rank, [answer for answer in who if answer.rank == rank]) for rank in sorted(ranks)), ", ")


def _of_rank(rank: str, who: Sequence[Answer]) -> str:
    names, more = ", ".join(sorted(answer.name for answer in who)[:MOST_NAMES]), len(who) - MOST_NAMES
    told = text("rank {rank}'s {names}", rank=rank, names=names)
    return told + text(" and {more} more", more=more) if more > 0 else told


def _named(answer: Answer) -> Text:
    state = answer.state or text("gone")
    return text(
        "rank {rank} {name} (pid {pid}, {state})", rank=answer.rank, name=answer.name, pid=answer.pid, state=state
    )


def stacks(answers: Sequence[Answer], most: int = 40) -> Iterator[str]:
    """Every stack once, with those whose it is, for `yoloscope stacks`."""
    seen: dict[tuple[tuple[Frame, ...], ...], list[Answer]] = {}
    for answer in answers:
        seen.setdefault(tuple(thread.frames for thread in answer.dump.threads) if answer.dump else (), []).append(
            answer
        )
    for threads, who in seen.items():
        yield joined(map(_named, who), ", ")
        if not threads:
            yield text("  no answer")
        main = who[0].dump.main.frames if who[0].dump and who[0].dump.main else ()
        for frames in sorted(threads, key=lambda frames: frames != main):
            yield text("  main thread") if frames == main else text("  another thread")
            yield from (f"    {place(frame)}" for frame in frames[:most])
            if len(frames) > most:
                yield text("    and {more} more", more=len(frames) - most)
