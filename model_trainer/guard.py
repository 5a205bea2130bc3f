"""`keras-trainer`: the first process of a run's container, which outlives the death of the one that works.

A container whose first process gets SIGKILL ends with 137, and so does one that was killed for memory. The Job must try
the first again and not the second, and it sees nothing but the exit code. So the work is done in a child: killed alone,
it is tried again (75); where the kernel killed for memory, it kills the whole container, or counts it (137).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

# Where a container finds the count of its own processes: cgroup v2, and v1 (Linux, Documentation/admin-guide).
MEMORY_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
# linux/prctl.h
PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY = 137
SIGNALLED = 128


def main() -> int:
    """Run the stage that the command line names in a child, and end as it does."""
    before = _killed_for_memory()
    parent = os.getpid()
    # The first process of a container gets no signal that it has no handler for: one that came now would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = os.fork()
    if not child:
        _work(parent)
    signal.signal(signal.SIGTERM, lambda number, frame: _pass_on(child, number, frame))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    if _killed_for_memory() > before:
        return OUT_OF_MEMORY
    if os.WTERMSIG(status) == signal.SIGKILL:
        return _say_killed()
    return SIGNALLED + os.WTERMSIG(status)


def _work(parent: int) -> None:
    """Never returns. What goes wrong in the child is the child's to say, and must not run the parent's code twice."""
    code = 1
    try:
        # Whoever kills the first process means the work: outside of a container nothing else would end it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        if os.getppid() == parent:
            # Imported here: the parent waits, and should not hold the memory of what it does not use.
            from model_trainer.main import main as work  # noqa: PLC0415

            code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process ends here, with the traceback that Python would print
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _pass_on(child: int, number: int, frame: Any) -> None:
    del frame
    os.kill(child, number)


def _killed_for_memory(events: tuple[Path, ...] = MEMORY_EVENTS) -> int:
    """How many processes of this container the kernel has killed for memory; 0 where it does not say."""
    for file in events:
        try:
            counts = dict(line.split() for line in file.read_text().splitlines())
        except OSError:
            continue
        return int(counts.get("oom_kill", 0))
    return 0


def _say_killed() -> int:
    from keras_operator.api import RunError, RunReason, RunResult, RunStage  # noqa: PLC0415 - only after a kill

    from model_trainer import result as results  # noqa: PLC0415
    from model_trainer.failure import Exit  # noqa: PLC0415

    stage = RunStage(sys.argv[1])
    message = f"The {stage.value} stage was killed by somebody (SIGKILL); it can be run again."
    error = RunError(reason=RunReason.INTERRUPTED, message=message)
    results.write(RunResult(stage=stage, ok=False, error=error), results.termination_log())
    return Exit.TEMPORARY


if __name__ == "__main__":
    sys.exit(main())
