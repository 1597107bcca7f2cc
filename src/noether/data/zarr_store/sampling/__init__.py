"""The rows of a draw: the shuffle, read plans, joint draws. Pure: nothing is read here."""

from noether.data.zarr_store.sampling.candidates import Candidates, Taken
from noether.data.zarr_store.sampling.joint_draws import Draw
from noether.data.zarr_store.sampling.plan import (
    CHUNK_ORDERS,
    ChunkOrder,
    check_num_points,
    count_draws,
    plan_draw,
    plan_whole,
    plan_window,
)
from noether.data.zarr_store.sampling.planner import DrawPlanner, DrawRead, IfShort, NumPoints, Schedule, Share
from noether.data.zarr_store.sampling.random_stream import random_stream
from noether.data.zarr_store.sampling.read_plan import ChunkPart, ChunkRun, PlannedRead, Range, ReadPlan
from noether.data.zarr_store.sampling.shuffle import (
    SHUFFLE_ALGORITHM,
    SHUFFLE_ALGORITHMS,
    hash_key,
    permutation,
)
from noether.data.zarr_store.sampling.weights import Falloff, Weight

__all__ = [
    "CHUNK_ORDERS",
    "SHUFFLE_ALGORITHM",
    "SHUFFLE_ALGORITHMS",
    "Candidates",
    "ChunkOrder",
    "ChunkPart",
    "ChunkRun",
    "Draw",
    "DrawPlanner",
    "DrawRead",
    "Falloff",
    "IfShort",
    "NumPoints",
    "PlannedRead",
    "Range",
    "ReadPlan",
    "Schedule",
    "Share",
    "Taken",
    "Weight",
    "check_num_points",
    "count_draws",
    "hash_key",
    "permutation",
    "plan_draw",
    "plan_whole",
    "plan_window",
    "random_stream",
]
