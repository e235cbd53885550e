"""The time of a thread that predicts, each second of which is accounted for once.

A model may be called while another's results are handed out, two may take turns, a training may predict after each
epoch: what one of them has accounted for is not another's, and none of it is code of the user's between two calls.
"""

from __future__ import annotations

import threading
import weakref
from time import thread_time
from typing import Any


class Account:
    """Of one thread.

    Attributes:
        wall: seconds that are accounted for.
        cpu: CPU time that is.
        elsewhere: grows while a training, a validation or an export goes on in it.
        calls: of those that have a call under way.
        last: of the call that was over last, what `Share.over` has noted.
    """

    __slots__ = ("calls", "cpu", "elsewhere", "last", "wall")

    def __init__(self) -> None:
        """Nothing is accounted for."""
        self.wall = self.cpu = 0.0
        self.elsewhere = 0
        self.calls: list[Any] = []
        self.last: tuple[float, float, float, float, int] | None = None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.account = Account()


_thread = _Thread()


def renew() -> None:
    """This thread has called nothing yet, as in a child that was forked."""
    _thread.account = Account()


def elsewhere() -> None:
    """Something that has a record of its own goes on in this thread: it is no code of the user's."""
    _thread.account.elsewhere += 1


class Share:
    """What one of them accounts for, whichever thread calls it.

    Attributes:
        last: up to where, by `perf_counter`.
        away: whether a training, a validation or an export went on in what was taken last.
    """

    def __init__(self) -> None:
        """No call has begun."""
        self.last, self.away = 0.0, False
        self._account: Account | None = None  # of the thread that was last here
        self._home: Account | None = None  # of the one that has begun the call
        self._wall = self._cpu = self._cpu_before = 0.0  # what was accounted for in it then, and its CPU time
        self._elsewhere = 0
        self._itself = weakref.ref(self)

    def take(self, now: float) -> float:
        """Seconds since the last time which nobody else has accounted for; now they are."""
        account, span = _thread.account, max(now - self.last, 0.0)
        here = account is self._account
        if here:
            span = max(span - (account.wall - self._wall), 0.0)
        self.away = here and account.elsewhere != self._elsewhere
        account.wall += span
        self._account, self._wall, self.last, self._elsewhere = account, account.wall, now, account.elsewhere
        return span

    def begin(self, now: float, cpu: float) -> tuple[float, float]:
        """A call begins: seconds since the last one, if this thread made it, in which it computed, and waited.

        Before a first call the last one is that of whoever was called before. None of either while another has a call
        under way, which waits for the user meanwhile and counts that itself.
        """
        account, gap, used = _thread.account, 0.0, 0.0
        if not self.last and account.last:
            self._account = account
            self.last, self._wall, self._cpu, self._cpu_before, self._elsewhere = account.last
        here = account is self._account and not self._is_under_way()
        self._leave()
        account.calls[:] = [one for one in account.calls if one() is not None]
        if here and not account.calls:
            gap = self.take(now)
            if not self.away:
                used = min(max(cpu - self._cpu - (account.cpu - self._cpu_before), 0.0), gap)
                account.cpu += used
        account.calls.append(self._itself)
        self._account = self._home = account
        self._wall, self.last, self._elsewhere = account.wall, now, account.elsewhere
        self._cpu, self._cpu_before = cpu, account.cpu
        return used, gap - used

    def goes_on(self) -> None:
        """The call was not over."""
        if self._home is not None and not self._is_under_way():
            self._home.calls.append(self._itself)

    def over(self, now: float) -> None:
        """The call is over; what it has not told of its time is nobody's."""
        self.take(now)
        self._leave()
        account, cpu = _thread.account, thread_time()
        if account is self._home:
            account.cpu += max(cpu - self._cpu - (account.cpu - self._cpu_before), 0.0)
        self._cpu, self._cpu_before = cpu, account.cpu
        account.last = self.last, self._wall, cpu, account.cpu, account.elsewhere

    def _is_under_way(self) -> bool:
        return self._home is not None and self._itself in self._home.calls

    def _leave(self) -> None:
        if self._home is not None and self._is_under_way():
            self._home.calls.remove(self._itself)
