"""Ends a job on a signal: at a point where its state is kept, or at once. Imports neither torch nor Lightning."""

import contextlib
import os
import select
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from camloc.experiment.run_directory import RunDirectory, is_first_process, is_started_by_first_process

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""SIGUSR1 is what SLURM sends ahead of pre-emption."""
SECONDS_TO_STOP = 20.0
"""From a signal to the end, whatever a process is waiting for; SLURM waits 30 s before it kills."""
_SECONDS_OF_WORKERS = 5
_AGAIN_AFTER = 0.5
_SECONDS_TO_NOTICE = 2.0  # more than the thread takes to see that the first process has gone
_FIRST_PROCESS = "CAMLOC_FIRST_PROCESS"  # for those that it starts: it may have gone before they look for it

_active: "Interruption | None" = None


class Interrupted(SystemExit):
    """A signal has ended the job; ``code`` is what a shell gives for it."""


class Interruption:
    """While a job runs, a signal ends it within :data:`SECONDS_TO_STOP`; files are only ever replaced whole.

    Where ``deferred`` is set, as in a training, the signal is only noted, and whoever set it stops at the next point
    that can be resumed. Elsewhere :class:`Interrupted` is raised at once. A process that waits for another one and does
    neither, is ended by a thread. A second Ctrl-C is never deferred.

    Of several processes the first one decides and says so: another one passes the signal on, and ends with it.

    Args:
        run: Where the job runs.
        resumable: Whether ``resume=`` continues such a job.
    """

    def __init__(self, run: RunDirectory, *, resumable: bool) -> None:
        self.run, self.resumable = run, resumable
        self.number: signal.Signals | None = None
        """The signal that came, of this process or of another one."""
        self.deferred = False
        self._ending = False
        self._since = 0.0
        self._is_first = is_first_process()
        started = is_started_by_first_process() and not self._is_first
        self._parent = int(os.environ.get(_FIRST_PROCESS, os.getppid())) if started else None

    def __enter__(self) -> Self:
        global _active  # noqa: PLW0603 - signals are of the whole process
        # What is ignored, as SIGHUP below nohup and SIGINT of a shell's background job, stays ignored.
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self._heeded = [number for number, handler in self._before.items() if handler != signal.SIG_IGN]
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        # C writes to it even while Python waits in a collective for a process that has gone.
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._heeded:
            signal.signal(number, self._handle)
        self._thread = threading.Thread(target=self._watch, name="interruption", daemon=True)
        self._thread.start()
        _active = self
        if self._is_first:
            os.environ[_FIRST_PROCESS] = str(os.getpid())
        if self._parent is not None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # which were held back until here
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _active  # noqa: PLW0603 - see above
        _active = None
        if self._is_first:
            os.environ.pop(_FIRST_PROCESS, None)
        for number in self._heeded:
            signal.signal(number, self._before[number])
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def raise_pending(self) -> None:
        """Defer no longer.

        Raises:
            Interrupted: If a signal has come.
        """
        self.deferred = False
        if self.number is not None and self._is_first:
            self._leave()

    def ending(self) -> None:
        """Let no signal disturb what is written at the end."""
        self._ending = True

    def outlive_first(self) -> None:
        """Let a process that failed because the first one has gone end without a word of its own."""
        if self._parent is not None:
            time.sleep(_SECONDS_TO_NOTICE)

    def end(self, problem: str = "") -> NoReturn:
        """Write the status, say what is kept and exit.

        Args:
            problem: What went wrong while stopping.

        Raises:
            SystemExit: With 128 and the signal's number.
        """
        self._say(problem)
        sys.exit(self._exit_code())

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._ending:
            return
        again = number == signal.SIGINT and time.monotonic() - self._since > _AGAIN_AFTER
        if self.number is not None and not (self._is_first and again):
            return
        waits = self.deferred and self.number is None
        if self.number is None:
            self.number, self._since = signal.Signals(number), time.monotonic()
        if not self._is_first and self._tell_first_process():
            return
        if not waits:
            self._leave()

    def _leave(self) -> NoReturn:
        # Not up through Lightning where others wait in a collective: another one from here would meet theirs.
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            self._exit()
        raise Interrupted(self._exit_code())

    def _exit(self) -> NoReturn:
        self._ending = True
        self._say("")
        sys.stdout.flush()
        os._exit(self._exit_code())

    def _tell_first_process(self) -> bool:
        status = self.run.read_status()
        first = self._parent or (status.process if status.host == socket.gethostname() else None)
        if first is None or first == os.getpid():
            return self.deferred
        try:
            os.kill(first, signal.SIGTERM)
        except OSError:  # it has gone, and this process has nothing to wait for
            return False
        return True

    def _watch(self) -> None:
        end = None
        poll = select.poll()
        poll.register(self._read, select.POLLIN | select.POLLHUP)
        while True:
            ready = poll.poll(1000)
            came = os.read(self._read, 64) if ready else b""
            if ready and not came:
                return
            heeded = [number for number in came if number in self._heeded]
            if heeded and end is None:
                end = time.monotonic() + SECONDS_TO_STOP
            if self._parent is not None and os.getppid() != self._parent:
                os._exit(1)  # it may wait for the first process in a collective, for ever
            if end is not None and time.monotonic() > end:
                self.number = self.number or signal.SIGTERM
                self._exit()

    def _say(self, problem: str) -> None:
        number = self.number or signal.SIGTERM
        status = self.run.read_status()
        # Not before this run has begun, and not when another process has failed, for which this one is stopped.
        if status.status == "running" and status.process == os.getpid():
            self.run.write_status("failed", error=f"interrupted by {number.name}")
        if self._is_first:
            sys.stderr.write(f"error: interrupted by {number.name}{problem and f' ({problem})'}; {self._kept()}\n")
            sys.stderr.flush()

    def _kept(self) -> str:
        if not self.resumable:
            return "nothing can be resumed; give the same command again"
        for file, done in ((self.run.last_checkpoint, "trained"), (self.run.found, "predicted")):
            try:
                clock = time.strftime("%H:%M:%S", time.localtime(file.stat().st_mtime))
            except OSError:
                continue
            return f"what was {done} until {clock} is kept; resume={shlex.quote(str(self.run.path))} continues"
        return "no checkpoint was written yet; give the same command again"

    def _exit_code(self) -> int:
        # Lightning kills the first process when one that it has started fails.
        if self._parent is not None:
            return 0
        number = signal.SIGTERM if self.number in (None, signal.SIGUSR1) else self.number
        return 128 + number


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Start processes of the same run here: a signal that comes to one early waits until its own job can heed it.

    By default it would kill that process, and Lightning would then kill the first one without a word.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def active() -> Interruption | None:
    """Return the interruption of the job that runs in this process; None outside a job."""
    return _active


def _in_forked_process(*_: Any) -> None:  # noqa: ANN401 - of no use
    """Let a loader worker leave signals to its parent, which may need its batch to reach a point that can be kept."""
    global _active  # noqa: PLW0603 - of this process from now on
    if _active is None:
        return
    _active = None
    signal.set_wakeup_fd(-1)  # the pipe is the parent's
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS_OF_WORKERS))


os.register_at_fork(after_in_child=_in_forked_process)
