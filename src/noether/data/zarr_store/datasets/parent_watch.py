"""Workers end with the process that they read for, also where that was killed."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from threading import Thread

from torch.utils.data import get_worker_info

__all__ = ["end_with_main_process"]

# The process that has been seen to, which one that is forked from it is not.
_watching: int | None = None


def end_with_main_process() -> None:
    """See to it that this process, if it is a worker of a loader, does not outlast the main process.

    PyTorch's workers end when their parent has changed. That of workers of a fork server is the fork server, which
    waits for its children in turn: both would stay for ever. Costs nothing from the second call on.
    """
    global _watching
    if _watching == os.getpid():
        return
    _watching = os.getpid()
    main = parent_process()
    if main is not None and main.pid != os.getppid() and get_worker_info() is not None:
        Thread(target=_end_after, args=(main,), name="noether-main-process", daemon=True).start()


def _end_after(main: BaseProcess) -> None:
    main.join()
    # Not sys.exit: this is no main thread, and there is nobody to tidy up for.
    os._exit(1)
