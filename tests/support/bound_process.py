"""Processes that end with the test run, even if the test run is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from typing import IO

__all__ = ["BoundProcess"]

# A second shell reads from a pipe to which no process writes. The read ends when the last process that holds the other
# end has ended. Then the shell kills its process group: the command, all processes that it started, and itself.
_SCRIPT = 'exec 3<&0 </dev/null; { read -r _; kill -9 0; } <&3 3<&- & exec "$@" 3<&-'


class BoundProcess:
    """A command in a process group of its own, which is killed with the process that started it.

    ``PR_SET_PDEATHSIG`` of Linux is not enough: for it, the parent is the thread that started the command, and it does
    not reach the processes that the command starts.

    Attributes
    ----------
    pid : int
        Id of the command and of its process group.
    """

    def __init__(self, command: Iterable[str | os.PathLike[str]], output: IO[bytes]) -> None:
        read_end, self._write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "sh", *command],
                stdin=read_end,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(read_end)
        self.pid = self._process.pid

    def has_ended(self) -> bool:
        """Return whether the command has ended without `kill`."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the command and all processes that it started."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write_end)
