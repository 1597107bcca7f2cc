"""Time steps of a file, and which of them is read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from noether.data.zarr_store.errors import SourceError

__all__ = ["ALL_STEPS", "MAX_STEPS", "STEP", "Step", "Steps"]

# The placeholder that numbers the steps of a file, where each is a sample.
STEP = "step"
ALL_STEPS = "all"
# A file that claims more is damaged, or made to keep a reader busy.
MAX_STEPS = 1_000_000

# A number, or the last one; None is the last one where there are steps.
Step = int | Literal["last"] | None


@dataclass(frozen=True, slots=True)
class Steps:
    """The time steps of a file, numbered from 0.

    Attributes
    ----------
    count : int
        How many there are; 0 where the file knows no steps.
    times : tuple of float
        Time of each step; empty where the file does not tell them.
    problem : str or None
        Why the steps have no numbers, although there are several; None where they have.
    """

    count: int = 0
    times: tuple[float, ...] = ()
    problem: str | None = None

    def choose(self, step: Step, where: str) -> int | None:
        """Return the number of the step that is asked for; None where the steps have no numbers.

        Raises
        ------
        SourceError
            There is no such step, or there are no steps although one is asked for.
        """
        if step is not None and not self.count and self.problem is None:
            raise SourceError(f"{where} has no time steps; leave step out of the mapping")
        if not isinstance(step, int):
            return self.count - 1 if self.count else None
        if self.problem is not None:
            raise SourceError(f"{where}: {self.problem}; step = 'last' reads the last step of each")
        if step >= self.count:
            raise SourceError(f"{where} has no step {step}; it has {self.described()}")
        return step

    def described(self) -> str:
        """Say which steps there are: how many, the first and the last."""
        if self.count == 1:
            return f"1 time step, {self.at(0)}"
        return f"{self.count:,} time steps, from {self.at(0)} to {self.at(self.count - 1)}"

    def at(self, step: int) -> str:
        """Name a step, with its time where that is known."""
        return f"step {step} (time {self.times[step]:g})" if self.times else f"step {step}"
