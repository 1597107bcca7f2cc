"""Startup file of IPython for the notebooks of the site; conf.py copies it into the profile that they run with.

A cell with ``!command`` fails if the command fails, which IPython ignores. The output of a command is printed when it
ends, as a terminal shows it then: without colours, and without lines that were overwritten, such as progress bars.
"""

import contextlib
import io
import re

from IPython import get_ipython

_LINE_UP = "\x1b[1A"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _install() -> None:
    shell = get_ipython()
    run = shell.system

    def run_checked(command: str) -> None:
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            run(command)
        print(_as_terminal_shows(written.getvalue()), end="")
        if (code := shell.user_ns["_exit_code"]) != 0:
            raise RuntimeError(f"exit code {code}: {command}")

    shell.system = run_checked


def _as_terminal_shows(text: str) -> str:
    shown: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        del shown[max(0, len(shown) - line.count(_LINE_UP)) :]
        shown.append(_ESCAPE.sub("", line).rpartition("\r")[2].rstrip())
    return "\n".join(shown)


_install()
