"""The time steps of a file, and the choice of one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from noether.data.zarr_store.errors import SourceError

__all__ = ["ALL_STEPS", "MAX_STEPS", "STEP", "Step", "Steps"]

# Placeholder for the number of the step in a path, if each step is a sample.
STEP = "step"
ALL_STEPS = "all"
# A file that claims more steps is damaged or malicious.
MAX_STEPS = 1_000_000

# A requested step: its number, or "last". None requests the last step, and also accepts a file without steps.
Step = int | Literal["last"] | None


@dataclass(frozen=True, slots=True)
class Steps:
    """The time steps of a file, numbered from 0.

    Attributes
    ----------
    count : int
        Number of steps; 0 if the file has no time steps.
    times : tuple of float
        Time of each step; empty if the file does not state them.
    problem : str or None
        Reason why the file has several steps that cannot be numbered; else None.
    """

    count: int = 0
    times: tuple[float, ...] = ()
    problem: str | None = None

    def choose(self, step: Step, where: str) -> int | None:
        """Return the number of the requested step; None if the file has no numbered steps.

        Raises
        ------
        SourceError
            The requested step does not exist.
        """
        if step is not None and not self.count and self.problem is None:
            raise SourceError(f"{where} has no time steps; leave step out of the mapping")
        if not isinstance(step, int):
            return self.count - 1 if self.count else None
        if self.problem is not None:
            raise SourceError(f"{where}: {self.problem}; write step = 'last' to read the last step of each time set")
        if step >= self.count:
            raise SourceError(f"{where} has no step {step:,}; it has {self.described()}; choose one of these")
        return step

    def described(self) -> str:
        """Return a description of the steps: their number, the first and the last."""
        if self.count == 1:
            return f"1 time step, {self.at(0)}"
        return f"{self.count:,} time steps, from {self.at(0)} to {self.at(self.count - 1)}"

    def at(self, step: int) -> str:
        """Return the name of a step, with its time if known."""
        return f"step {step} (time {self.times[step]:g})" if self.times else f"step {step}"
