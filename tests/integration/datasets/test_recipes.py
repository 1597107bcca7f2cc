"""The recipes of docs/frameworks.md, each on two ranks: new points in each epoch, and an exact resume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from support.recipes import (
    EVEN_SAMPLES,
    N_BATCHES,
    N_EPOCHS,
    N_RANKS,
    SAMPLES,
    VALIDATION,
    WHOLE,
    Batch,
    train,
    write_store,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("recipes") / "store")


class Training:
    """A whole training by a recipe, and the trainings that resume from its checkpoints."""

    def __init__(self, variant: str, store: Path, directory: Path, n_workers: int) -> None:
        self._variant, self._store, self._directory, self._n_workers = variant, store, directory, n_workers
        self.whole = self.run()
        self._all = [*self.whole]

    def run(self, *checkpoints: str) -> list[dict[str, list[Batch]]]:
        return train(self._variant, self._store, self._directory, *checkpoints, n_workers=self._n_workers)

    def require_new_points_in_each_epoch(self, samples: Sequence[str] = SAMPLES, n_batches: int = N_BATCHES) -> None:
        drawn: dict[tuple[str, str], int] = {}
        for epoch in range(N_EPOCHS):
            batches = [
                batch for batches in self.whole for batch in batches[WHOLE][epoch * n_batches : (epoch + 1) * n_batches]
            ]
            assert {sample for batch in batches for sample in batch} == set(samples)
            for batch in batches:
                for draw in batch.items():
                    assert drawn.setdefault(draw, epoch) == epoch
        assert [len(batches[WHOLE]) for batches in self.whole] == [N_EPOCHS * n_batches] * N_RANKS

    def require_exact_resumes(self, n_done_by_checkpoint: dict[str, int]) -> None:
        """Check that new processes get exactly the remaining batches."""
        resumed = self.run(*n_done_by_checkpoint)
        self._all += resumed
        for checkpoint, n_done in n_done_by_checkpoint.items():
            for batches, expected in zip(resumed, self.whole, strict=True):
                assert batches[checkpoint] == expected[WHOLE][n_done:], checkpoint

    def require_validation_on_the_same_points(self) -> None:
        """Check the whole training, and the resumed trainings."""
        drawn: set[tuple[str, str]] = set()
        for batches_by_run in self._all:
            for run, batches in batches_by_run.items():
                if run.endswith(VALIDATION):
                    assert len(batches) >= N_BATCHES
                    drawn |= {draw for batch in batches for draw in batch.items()}
        assert sorted(sample for sample, _ in drawn) == sorted(SAMPLES)


@pytest.mark.parametrize(("variant", "n_workers"), [("PyTorch", 1), ("torchdata", 1), ("Accelerate", 1)])
def test_ranks_get_new_points_each_epoch_and_resume_exactly(
    store: Path, tmp_path: Path, variant: str, n_workers: int
) -> None:
    training = Training(variant, store, tmp_path, n_workers)
    training.require_new_points_in_each_epoch()
    training.require_exact_resumes({"1": 1, "3": 3, "5": 5})


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_torchdata_state_between_two_epochs_resumes_with_the_next_one(
    store: Path, tmp_path: Path, n_workers: int
) -> None:
    training = Training("torchdata, saved after each epoch", store, tmp_path, n_workers)
    training.require_exact_resumes({"3": 3, "6": 6})


def test_lightning_trains_on_new_points_validates_on_fixed_ones_and_resumes(store: Path, tmp_path: Path) -> None:
    """Trainings resume exactly, from checkpoints within an epoch, at its end, and between last batch and end."""
    training = Training("Lightning", store, tmp_path, 1)
    training.require_new_points_in_each_epoch()
    training.require_exact_resumes({"step-1": 1, "step-3": 3, "step-5": 5, "epoch-0": 3, "validated-0": 3})
    training.require_validation_on_the_same_points()


def test_ranks_share_the_samples_that_lightning_predicts(store: Path, tmp_path: Path) -> None:
    """Lightning gets the loader as an argument, or from a hook of the model."""
    batches = [of_rank[WHOLE] for of_rank in train("Lightning, predictions", store, tmp_path)]
    assert [len(of_rank) for of_rank in batches] == [2 * N_BATCHES] * N_RANKS
    for part in (slice(N_BATCHES), slice(N_BATCHES, None)):
        shares = [[sample for batch in of_rank[part] for sample in batch] for of_rank in batches]
        assert {sample for share in shares for sample in share} == set(SAMPLES)
        assert [len(share) for share in shares] == [-(-len(SAMPLES) // N_RANKS)] * N_RANKS


@pytest.mark.parametrize(("variant", "n_batches"), [("dispatched", 2), ("dispatched and split", 4)])
def test_batches_that_accelerate_dispatches_are_new_each_epoch_and_resume_exactly(
    store: Path, tmp_path: Path, variant: str, n_batches: int
) -> None:
    """Trainings resume exactly, within an epoch and at its end."""
    training = Training(f"Accelerate, {variant}", store, tmp_path, 0)
    training.require_new_points_in_each_epoch(EVEN_SAMPLES, n_batches)
    training.require_exact_resumes({str(n_done): n_done for n_done in (1, n_batches, n_batches + 1)})


@pytest.mark.parametrize("variant", ["ragged", "ragged and split"])
def test_ragged_batches_that_accelerate_would_cut_are_refused(store: Path, tmp_path: Path, variant: str) -> None:
    with pytest.raises(RuntimeError, match="dispatch_batches=False"):
        train(f"Accelerate, {variant}", store, tmp_path)
