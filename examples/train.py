"""Train a small surrogate on draws from a store, and write its prediction to the mesh of a held-out simulation.

Run it with ``python examples/train.py [OUTPUT_DIRECTORY]``; ``--help`` lists the options.

The model predicts the pressure on an Ahmed body from its shape. It is a point transformer similar to AB-UPT (Alkin et
al., 2025): the anchors, which are the points of one draw, attend to each other; the points of another draw attend to
the anchors. So a model that was trained on a few hundred points can predict each point of a mesh independently.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pyvista
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]  # Matplotlib leaves it untyped
from numpy.typing import NDArray
from torch import Tensor, nn

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.datasets import Draw, Item, ZarrStoreDataset, collate_samples
from noether.data.zarr_store.demo import SIMULATIONS
from noether.data.zarr_store.export import Export, PredictionWriter

# The meshes are small (2,000 faces), so the chunks are small too. Use the default, 4,096, for real meshes.
CHUNK_POINTS = 256
SEED = 0

SHAPE = ("surface_position", "surface_normals")
PRESSURE = "surface_pressure"
POINTS, ANCHORS = 384, 128
# Five simulations make one batch. Each epoch has many draws of each, so that workers can prefetch.
BATCH, DRAWS_PER_EPOCH = 5, 10

WIDTH, HEADS, LAYERS, OCTAVES = 64, 4, 2, 3
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-2

# Dimensions that all of these bodies share, in metres.
HALF_WIDTH, CLEARANCE, NOSE, SLANT = 0.1945, 0.05, 0.2, 0.222

# PyVista's annotations reject arguments that its functions accept.
Mesh = Any


def main() -> None:
    """Run all steps of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", default="train-output", type=Path, help="directory to write into")
    parser.add_argument("--steps", default=1200, type=int, help="number of training steps (default: %(default)s)")
    parser.add_argument("--workers", default=1, type=int, help="number of processes that read (default: %(default)s)")
    options = parser.parse_args()
    output = options.output.resolve()
    torch.manual_seed(SEED)
    # The other cores are for the workers. With one thread, sums are the same on any number of cores.
    torch.set_num_threads(1)

    store = convert(output / "ahmed")
    model = Surrogate()
    train(model, store, options.steps, options.workers)

    export = predict(model, store, output / "prediction.vtp")
    whole = open_dataset(store, "test", None)[0]
    show_errors(export.path, whole, open_dataset(store, "train", None))
    print(f"\nprediction on the mesh: {export.path} ({', '.join(export.arrays)}, in m²/s²)")
    print(f"picture of it: {plot(export.path, whole, output / 'prediction.png')}")


def convert(store: Path) -> Path:
    """Convert the bundled simulations with splits, by the installed command line."""
    splits = [f"--split-file={name}={SIMULATIONS / name}.txt" for name in ("train", "test")]
    arguments = [str(SIMULATIONS), str(store), "--preset=ahmedml", f"--chunk-points={CHUNK_POINTS}", *splits]
    subprocess.run([Path(sys.executable).with_name("noether-zarr"), "convert", *arguments], check=True)  # noqa: S603
    return store


def open_dataset(store: Path, split: str, num_points: int | None) -> ZarrStoreDataset:
    """Open a split of the store, with the points to predict (all points if `num_points` is None) and anchors."""
    return ZarrStoreDataset(
        store,
        split=split,
        num_points={"surface": num_points},
        fields=[*SHAPE, PRESSURE],
        draws={"anchor": Draw("surface", ANCHORS, SHAPE)},
        seed=SEED,
        transform=without_scale,
    )


def without_scale(item: Item) -> Item:
    """Scale an item by size and speed, so that simulations with similar physics have similar values.

    Pressures become coefficients, ``p / (U² / 2)``. Positions are mapped to a box from -1 to 1. The nose and the slant,
    which all bodies share, keep their length; the middle is stretched.
    """
    _, length, height, _ = item["attributes"]["design_parameters"].tolist()
    scaled = dict(item)
    for name in (name for name in item if name.endswith("_position")):
        x, y, z = item[name].unbind(-1)
        from_nose = x + length
        nose = from_nose.clamp(max=NOSE)
        slant = (from_nose - length + SLANT).clamp(min=0)
        between = (from_nose - nose - slant) / (length - NOSE - SLANT)
        along = nose + slant + between * (1 - NOSE - SLANT)
        scaled[name] = 2 * torch.stack([along, y / HALF_WIDTH, (z - CLEARANCE) / height], dim=-1) - 1
    scaled[PRESSURE] = item[PRESSURE] / dynamic_pressure(item)
    return scaled


def dynamic_pressure(item: Item) -> float:
    """Return ``U² / 2`` in m²/s²: the pressures of these simulations are divided by the density."""
    speed: float = item["attributes"]["design_parameters"][3].item()
    return 0.5 * speed**2


class Surrogate(nn.Module):
    """Model of the pressure coefficients of points, conditioned on the anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6 + 6 * OCTAVES, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.layers = nn.ModuleList(AnchorAttention() for _ in range(LAYERS))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))

    def forward(self, batch: Item) -> Tensor:
        """Return a tensor of shape (batch, points) for positions and normals of shape (batch, points, 3)."""
        anchors, points = (self.tokens(batch, draw) for draw in ("anchor", "surface"))
        tokens = torch.cat([anchors, points], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, anchors.shape[1])
        coefficients: Tensor = self.head(tokens[:, anchors.shape[1] :]).squeeze(-1)
        return coefficients

    def tokens(self, batch: Item, draw: str) -> Tensor:
        """Embed each point: its position, sines and cosines of the position at a few wavelengths, and its normal."""
        position = batch[f"{draw}_position"]
        angles = (position[..., None] * torch.pi * 2.0 ** torch.arange(-1, OCTAVES - 1)).flatten(-2)
        tokens: Tensor = self.embed(torch.cat([position, angles.sin(), angles.cos(), batch[f"{draw}_normals"]], dim=-1))
        return tokens


class AnchorAttention(nn.Module):
    """A layer in which all tokens attend to the anchors, which are the first tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, tokens: Tensor, n_anchors: int) -> Tensor:
        """Return tokens of the same shape, (batch, tokens, width)."""
        normed = self.norm(tokens)
        anchors = normed[:, :n_anchors]
        tokens = tokens + self.attention(normed, anchors, anchors, need_weights=False)[0]
        mixed: Tensor = tokens + self.perceptron(tokens)
        return mixed


def train(model: Surrogate, store: Path, steps: int, workers: int) -> None:
    """Train the model on draws of the training split, and print the time spent waiting for data."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    stream = batches(store, workers)
    losses, waited, start = [], 0.0, time.perf_counter()
    for step in range(1, steps + 1):
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        loss = nn.functional.mse_loss(model(batch), batch[PRESSURE])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch does not type it
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % max(steps // 10, 1) == 0:
            recent = losses[-max(steps // 10, 1) :]
            print(f"step {step:>5}: loss {sum(recent) / len(recent):.5f}", flush=True)
    elapsed = time.perf_counter() - start
    print(f"{steps} steps in {elapsed:.1f} s, of which {waited:.2f} s waiting for data: {waited / elapsed:.1%}")


def batches(store: Path, workers: int) -> Iterator[Item]:
    """Yield batches of the training split without end. Each has new draws."""
    dataset = open_dataset(store, "train", POINTS)
    loader = dataset.loader(BATCH, shuffle=True, num_samples=DRAWS_PER_EPOCH * len(dataset), num_workers=workers)
    while True:
        yield from loader


def predict(model: Surrogate, store: Path, path: Path) -> Export:
    """Write truth, prediction and error to the faces of the mesh, batch by batch, so that any size of mesh works."""
    anchors = open_dataset(store, "test", POINTS)[0]
    sample_id, scale = anchors["sample_id"], dynamic_pressure(anchors)
    mesh = SIMULATIONS / sample_id / "surface.vtp"
    writer = PredictionWriter(store, sample_id, path, onto=mesh, fields=[PRESSURE], overwrite=True)
    with writer, torch.inference_mode():
        for batch in ZarrChunkReader(store).iter_sample(sample_id, POINTS, fields=[*SHAPE, PRESSURE]):
            points = without_scale({**batch.tensors(), "attributes": anchors["attributes"]})
            predicted = model(collate_samples([{**anchors, **points}]))[0]
            error = predicted - points[PRESSURE]
            writer.add(batch, {"predicted_pressure": predicted * scale, "pressure_error": error * scale})
    return writer.export


def show_errors(path: Path, whole: Item, training: ZarrStoreDataset) -> None:
    """Print the error of the model, and the errors of simple guesses for comparison."""
    known = [training[index] for index in range(len(training))]
    truth = whole[PRESSURE]
    errors = {
        "model": torch.tensor(pyvista.read(path).cell_data["pressure_error"]) / dynamic_pressure(whole),
        "mean of the training simulations, at the nearest point of each": mean_of_nearest(whole, known) - truth,
        "mean of the training simulations, everywhere": torch.cat([item[PRESSURE] for item in known]).mean() - truth,
    }
    print(f"\nrelative L2 error of the pressure on {whole['sample_id']}, which was held out:")
    for name, error in errors.items():
        print(f"  {torch.linalg.norm(error) / torch.linalg.norm(truth):6.1%}  {name}")


def mean_of_nearest(whole: Item, known: list[Item]) -> Tensor:
    """Return the mean over simulations of the pressure at the point with the nearest position and normal."""
    place = [torch.cat([item["surface_position"], item["surface_normals"]], dim=-1) for item in (whole, *known)]
    nearest = [torch.cdist(place[0], other).argmin(dim=1) for other in place[1:]]
    return torch.stack([item[PRESSURE][rows] for item, rows in zip(known, nearest, strict=True)]).mean(dim=0)


def plot(path: Path, whole: Item, picture: Path) -> Path:
    """Plot the written fields as coefficients, from the front and from behind."""
    mesh: Mesh = pyvista.read(path)
    values = {name: mesh.cell_data[name] / dynamic_pressure(whole) for name in mesh.cell_data}
    widest = float(np.percentile(np.abs(values["pressure_error"]), 99))
    pressure = ScalarMappable(Normalize(-1.5, 1.0), "turbo")
    error = ScalarMappable(Normalize(-widest, widest), "RdBu_r")
    columns = (
        ("truth", PRESSURE, pressure),
        ("prediction", "predicted_pressure", pressure),
        ("prediction - truth", "pressure_error", error),
    )
    figure, axes = plt.subplots(2, 3, figsize=(15, 7.5), subplot_kw={"projection": "3d"}, layout="constrained")
    for axis, (title, name, colours) in zip(axes.T, columns, strict=True):
        axis[0].set_title(title)
        for view, azimuth in zip(axis, (-130, -40), strict=True):
            draw_body(view, mesh, colours.to_rgba(values[name]), azimuth)
    style: dict[str, Any] = {"location": "bottom", "aspect": 40, "shrink": 0.8, "extend": "both"}
    figure.colorbar(pressure, ax=axes[:, :2], label="pressure coefficient p / (U² / 2), dimensionless", **style)
    style |= {"aspect": 20, "ticks": np.linspace(-widest, widest, 5), "format": "%.2f"}
    figure.colorbar(error, ax=axes[:, 2], label="error of the coefficient", **style)
    slant, _, _, speed = whole["attributes"]["design_parameters"].tolist()
    figure.suptitle(f"Ahmed body {whole['sample_id']}, slant {slant:.0f}°, {speed:.0f} m/s, held out of training")
    figure.savefig(picture, dpi=110)
    return picture


def draw_body(axis: Any, mesh: Mesh, colours: NDArray[Any], azimuth: float, elevation: float = 22) -> None:
    """Draw the visible faces of the mesh, which is half of the body, and of its mirror image."""
    turn, lift = np.radians((azimuth, elevation))
    to_viewer = np.cos(lift) * np.cos(turn), np.cos(lift) * np.sin(turn), np.sin(lift)
    faces, polygons, of_polygons = mesh.irregular_faces, [], []
    for mirror in np.array([(1, 1, 1), (1, -1, 1)]):
        seen = np.flatnonzero((mesh.face_normals * mirror) @ to_viewer < 0)  # their normals point into the body
        polygons += [mesh.points[faces[face]] * mirror for face in seen]
        of_polygons.append(colours[seen])
    painted = np.concatenate(of_polygons)
    body = Poly3DCollection(polygons, facecolors=painted, edgecolors=painted, linewidths=0.3, clip_on=False)
    axis.add_collection3d(body)
    low_x, high_x, _, high_y, low_z, high_z = mesh.bounds
    axis.set(xlim=(low_x, high_x), ylim=(-high_y, high_y), zlim=(low_z, high_z))
    axis.set_box_aspect((high_x - low_x, 2 * high_y, high_z - low_z), zoom=1.65)
    axis.set_proj_type("ortho")
    axis.view_init(elev=elevation, azim=azimuth)
    axis.set_axis_off()


if __name__ == "__main__":
    main()
