"""Processes that end with the test run, also where it is killed and cannot end them itself."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from typing import IO

__all__ = ["BoundProcess"]

# A shell beside the command reads from a pipe that nobody writes to: the read ends when the last process that holds
# the other end has ended. Then it kills their process group, which is the command, all that it started, and itself.
_SCRIPT = 'exec 3<&0 </dev/null; { read -r _; kill -9 0; } <&3 3<&- & exec "$@" 3<&-'


class BoundProcess:
    """A command in a process group of its own, which is killed with the process that started it.

    On Linux ``PR_SET_PDEATHSIG`` would do the same, but it counts the thread that started the command as its parent,
    and it does not reach what the command starts.

    Attributes
    ----------
    pid : int
        Of the command, and of its process group.
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
        """Return whether the command has ended by itself."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End the command, and all that it started, at once."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write_end)
