"""Workers end with their main process, even if it is killed."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from threading import Thread

from torch.utils.data import get_worker_info

__all__ = ["end_with_main_process"]

# Id of the process that is already watching. A process that is forked from it is not watching yet.
_watching: int | None = None


def end_with_main_process() -> None:
    """End this process with the main process, if it is a worker of a loader.

    PyTorch's workers end when their parent changes. The parent of workers of a fork server is the fork server, which in
    turn waits for its children: without this function, neither would ever end. Repeated calls are a no-op.
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
    # sys.exit would end this thread only. Nothing needs to be cleaned up.
    os._exit(1)
