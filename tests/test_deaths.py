"""Trainings that die in a real process, each in another way: the black box names the cause, the training is unchanged.

The training is the loop of `tests/trainer_hooks/loop.py`, whose events are Ultralytics': what matters here is how a
process ends, and what is left of it. CUDA's errors are raised with CUDA's words, because there is no GPU.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.recordings import postmortem

from tests.training import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, pathlib, resource, signal, sys
from loop import Loop
if sys.argv[2] == "hooks":
    import yoloscope_hooks
    attach = yoloscope_hooks.attach
else:
    attach = lambda loop: loop
loop = Loop(pathlib.Path(sys.argv[1]), epochs=2)
def die(trainer):
    exec(sys.argv[3], globals())
attach(loop).callbacks.setdefault("on_train_epoch_end", []).append(die)
print("begins", flush=True)
loop.train()
print("ends", flush=True)
"""

#: By cause: what the training does in its callback, and the words of the evidence.
DEATHS = [
    ("disk_full", "open('/dev/full', 'w', buffering=1).write('x\\n')", r"OSError: \[Errno 28\]"),
    ("data_missing", "open('/nowhere/images/0001.jpg')", r"FileNotFoundError.*/nowhere/images/0001.jpg"),
    ("host_out_of_memory", "bytearray(1 << 62)", "MemoryError"),
    ("interrupted", "os.kill(os.getpid(), signal.SIGINT)", "KeyboardInterrupt"),
    ("missing_package", "import no_such_package", "No module named 'no_such_package'"),
    (
        "too_many_files",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); kept = [open('/dev/null') for _ in range(99)]",
        r"\[Errno 24\]",
    ),
    ("data_unreadable", "raise OSError(116, 'Stale file handle', '/nfs/1.jpg')", "Stale file handle"),
    ("cuda_out_of_memory", "raise RuntimeError('CUDA error: out of memory')", "CUDA error: out of memory"),
    ("cuda_device_assert", "raise RuntimeError('CUDA error: device-side assert triggered')", "device-side assert"),
    ("cuda_illegal_access", "raise RuntimeError('CUDA error: an illegal memory access was encountered')", "illegal"),
    ("gpu_lost", "raise RuntimeError('CUDA error: uncorrectable ECC error encountered')", "uncorrectable ECC"),
    ("cuda_no_kernel_image", "raise RuntimeError('CUDA error: no kernel image is available for')", "no kernel image"),
    ("cuda_driver", "raise RuntimeError('CUDA driver version is insufficient for CUDA')", "insufficient"),
    ("collective_timeout", "raise RuntimeError('Watchdog caught collective operation timeout')", "Watchdog"),
    (
        "driver_mismatch",
        "raise RuntimeError('CUDA error: system has unsupported display driver / cuda driver combination')",
        "unsupported display driver",
    ),
    ("labels", "raise ValueError('No labels found in /data/train.cache')", "No labels found"),
    ("not_a_number", "raise RuntimeError('Training failed: NaN persisted for 4 epochs')", "NaN persisted"),
    ("worker_killed", "raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')", "pid 7"),
    ("shared_memory_full", "raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Bus error.')", "Bus"),
    (
        "worker_exception",
        "raise ValueError('Caught ValueError in DataLoader worker process 0.\\nx\\nValueError: odd')",
        "odd",
    ),
    ("native_crash", "import ctypes; ctypes.string_at(1)", "SIGSEGV; in string_at"),
    ("native_crash", "os.abort()", "SIGABRT"),
    ("native_crash", "os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS"),
    ("native_crash", "os.kill(os.getpid(), signal.SIGFPE)", "SIGFPE"),
    ("terminated", "os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM; in <module>"),
    ("hangup", "os.kill(os.getpid(), signal.SIGHUP)", "SIGHUP; in <module>"),
    ("slurm_time_limit", "os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM.*at the end of the job's time"),
    ("slurm_time_limit", "os.kill(os.getpid(), signal.SIGKILL)", "at the end of the job's time"),
    ("slurm_cancelled", "os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM.*before the end of the job's time"),
    ("scheduler", "os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
    ("eviction", "os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
    ("unknown", "os.kill(os.getpid(), signal.SIGKILL)", "exited without a final state"),
    ("an exception left the trainer", "1 / 0", "ZeroDivisionError: division by zero; in <module>"),
]
ENVIRONMENT = {
    "scheduler": {"SLURM_JOB_ID": "77"},
    "slurm_time_limit": {"SLURM_JOB_ID": "77", "SLURM_JOB_END_TIME": "+0"},
    "slurm_cancelled": {"SLURM_JOB_ID": "77", "SLURM_JOB_END_TIME": "+3600"},
    "eviction": {"POD_NAME": "train-0"},
}
LEFT_OUT = ("YOLOSCOPE", "SLURM", "POD_", "PYTHONFAULTHANDLER")


def train(
    base: Path, code: str, how: str, environ: dict[str, str], *, replace: bool = False
) -> subprocess.CompletedProcess[str]:
    """One training, with hooks or without; in place of this process with `replace`."""
    environ = {key: f"{time.time() + int(value):.0f}" if value[0] == "+" else value for key, value in environ.items()}
    known = {key: value for key, value in os.environ.items() if not key.startswith(LEFT_OUT)}
    paths = os.pathsep.join(str(ROOT / part) for part in ("trainer_hooks", "tests/trainer_hooks"))
    records = {"YOLOSCOPE_DIR": str(base / "records"), "YOLOSCOPE_RUN": "dying", "PYTHONPATH": paths}
    command = [sys.executable, "-c", SCRIPT, str(base / "project"), how, code]
    if replace:
        os.execve(command[0], command, known | records | environ)
    return subprocess.run(
        command, env=known | records | environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("cause", "code", "evidence"), DEATHS, ids=[f"{n}-{row[0]}" for n, row in enumerate(DEATHS)])
def test_a_death_is_named(tmp_path: Path, cause: str, code: str, evidence: str) -> None:
    """By the black box, from what is left; exit code and output are those of the training without hooks."""
    plain = train(tmp_path, code, "plain", {})
    seen = train(tmp_path, code, "hooks", ENVIRONMENT.get(cause, {}))
    assert (seen.returncode, seen.stdout) == (plain.returncode, plain.stdout) != (0, "begins\nends\n")
    assert _last_line(seen.stderr) == _last_line(plain.stderr)
    (run,) = postmortem.runs(tmp_path / "records")
    shown = CliRunner().invoke(main, ["report", "--black-box", run, "--records", str(tmp_path / "records")])
    assert shown.exit_code == 0, shown.output
    verdict = "failed" if seen.returncode in (1, -signal.SIGINT, 130) else "killed"
    assert re.search(rf"(?m)^rank 0: {verdict}: .*{evidence}", shown.output), shown.output
    assert re.search(rf"(?m)^  cause {cause}", shown.output), shown.output
    assert re.search(r"(?m)^  fix   \S", shown.output)


def test_a_kill_inside_a_job_that_goes_on(tmp_path: Path) -> None:
    """Its shell, or what comes next in its script, is still there: nobody has cancelled it."""
    job = {"SLURM_JOB_ID": "770077", "SLURM_JOB_END_TIME": "+3600"}
    with subprocess.Popen(["sleep", "60"], env={**os.environ, **job}) as shell:
        train(tmp_path, "os.kill(os.getpid(), signal.SIGTERM)", "hooks", job)
        assert _cause(tmp_path) == "scheduler"
        shell.kill()
    assert _cause(tmp_path) == "slurm_cancelled"


def _cause(base: Path) -> str:
    (run,) = postmortem.runs(base / "records")
    command = ["report", "--black-box", run, "--records", str(base / "records")]
    return re.findall(r"(?m)^  cause (\w+)", CliRunner().invoke(main, command).output)[0]


def _last_line(text: str) -> str:
    """What a traceback ends with; where its lines are differs, because the hooks call the callback."""
    return text.rstrip().rpartition("\n")[2]


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    """What is ignored stays ignored, also while and after we look."""
    code = "os.kill(os.getpid(), signal.SIGHUP); print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, flush=True)"
    for how in ("plain", "hooks"):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
        try:
            done = train(tmp_path, code, how, {})
        finally:
            signal.signal(signal.SIGHUP, before)
        assert (done.returncode, done.stdout) == (0, "begins\n" + "True\n" * 2 + "ends\n"), done


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """The kernel's own SIGHUP, to a training in the foreground of a terminal whose other end goes."""
    code = "import time; print('waits', flush=True); time.sleep(60)"
    pid, terminal = pty.fork()
    if not pid:
        train(tmp_path, code, "hooks", {}, replace=True)
    shown = b""
    while b"waits" not in shown:
        shown += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGHUP
    (run,) = postmortem.runs(tmp_path / "records")
    shown_cause = (
        CliRunner().invoke(main, ["report", "--black-box", run, "--records", str(tmp_path / "records")]).output
    )
    assert "SIGHUP; in <module>" in shown_cause
    assert "cause hangup: " in shown_cause


def test_sigterm_of_the_users_own_stays_the_users(tmp_path: Path) -> None:
    """A handler that was there before, and one that comes later."""
    code = "signal.signal(signal.SIGTERM, lambda *_: print('bye', flush=True)); os.kill(os.getpid(), signal.SIGTERM)"
    for how in ("plain", "hooks"):
        done = train(tmp_path, code, how, {})
        assert (done.returncode, done.stdout) == (0, "begins\n" + "bye\n" * 2 + "ends\n"), done
