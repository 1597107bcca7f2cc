"""PyTorch's files, ``.pt``: a tensor, a dict of tensors, or a `Data` of PyG. No code that they hold is run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from threading import Lock
from typing import Any, BinaryIO

from numpy.typing import NDArray

from noether.data.zarr_store.errors import MissingDependencyError
from noether.data.zarr_store.sources.base import FieldDescription
from noether.data.zarr_store.sources.mapped_files import path_to_map

__all__ = ["flattened", "head_of_pt", "load_pt", "load_tensors", "tensor_heads"]

# A dict of a few bytes can hold others over and over, without end.
_MAX_VALUES = 1 << 17

_PYG = "torch_geometric"
# What a `Data` or `HeteroData` is pickled as. PyG is not needed to read it: an empty class of the same name takes the
# state, and none of PyG's code is called.
_PYG_CLASSES = {
    f"{_PYG}.data.data": ("Data", "DataEdgeAttr", "DataTensorAttr"),
    f"{_PYG}.data.hetero_data": ("HeteroData",),
    f"{_PYG}.data.storage": ("BaseStorage", "GlobalStorage", "NodeStorage", "EdgeStorage"),
    f"{_PYG}.data.feature_store": ("TensorAttr",),
    f"{_PYG}.data.graph_store": ("EdgeAttr",),
}
_STAND_INS: list[Any] = [
    type(name, (), {"__module__": module}) for module, names in _PYG_CLASSES.items() for name in names
]
# What PyTorch may unpickle is the same for all threads.
_STAND_INS_LOCK = Lock()


def load_pt(file: BinaryIO) -> Any:
    """Load a ``.pt``: an array, or a dict of what it holds, with its tensors as arrays.

    Raises
    ------
    ValueError
        It holds other objects, is damaged, or claims more than it holds.
    MissingDependencyError
        PyTorch is not installed.
    """
    return _with_arrays(_load(file, "cpu"))


def head_of_pt(file: BinaryIO) -> FieldDescription:
    """Describe the tensor of a ``.pt`` that holds a single one; errors are those of `load_pt`."""
    content = _load(file, "meta")
    if not _is_tensor(content):
        raise TypeError(f"it holds a {type(content).__name__}, where one tensor is expected")
    return _described(content, is_mapped=_path_to_map(file) is not None)


def tensor_heads(file: BinaryIO) -> dict[str, FieldDescription]:
    """Describe the tensors of a ``.pt`` that holds several, by name (`flattened`); errors are those of `load_pt`."""
    is_mapped = _path_to_map(file) is not None
    return {name: _described(tensor, is_mapped) for name, tensor in _tensors(file, "meta").items()}


def load_tensors(file: BinaryIO, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Load tensors of a ``.pt`` as arrays, by those names of `tensor_heads` that are given; see there for errors."""
    tensors = _tensors(file, "cpu")
    return {name: _with_arrays(tensors[name]) for name in names}


def flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what a dict holds by name, where ``a/b`` is what the dict ``a`` in it calls ``b``.

    Raises
    ------
    ValueError
        Two values have the same name.
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = flattened(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
        if flat.keys() & inner.keys():
            raise ValueError(f"two of its values are called {min(flat.keys() & inner.keys())!r}; rename one")
        flat |= inner
    return flat


def _tensors(file: BinaryIO, device: str) -> dict[str, Any]:
    content = _load(file, device)
    if _is_tensor(content):
        raise TypeError("it holds one tensor, which has no name; write it as the file of a field: { file = ... }")
    if not isinstance(content, dict):
        raise TypeError(
            f"it holds a {type(content).__name__}, where a dict of tensors is expected; save each sample to a file of "
            "its own"
        )
    return {name: value for name, value in flattened(content).items() if _is_tensor(value)}


def _load(file: BinaryIO, device: str) -> Any:
    """Load what a file holds, with dicts in the place of PyG's objects. On the device ``meta`` no values are read."""
    try:
        content = _unpickle(file, device, nullcontext())
    except pickle.UnpicklingError as error:
        if _PYG not in str(error):
            raise _refusal(error) from error
        content = _unpickle_pyg(file, device)
    try:
        return _plain(content)
    except RecursionError as error:
        raise ValueError("its dicts lie in each other without end; expected the tensors of a sample") from error


def _unpickle_pyg(file: BinaryIO, device: str) -> Any:
    try:
        with _STAND_INS_LOCK:
            return _unpickle(file, device, _stand_ins())
    except pickle.UnpicklingError as error:
        raise _refusal(error) from error


def _unpickle(file: BinaryIO, device: str, allowed: AbstractContextManager[Any]) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "reading .pt files", "torch") from error
    path = _path_to_map(file)
    _require_uncompressed(file)
    with allowed:
        return torch.load(path or file, map_location=device, weights_only=True, mmap=path is not None)


def _stand_ins() -> AbstractContextManager[Any]:
    """Let PyTorch unpickle the objects of PyG, each as one of an empty class."""
    from torch import serialization

    if not hasattr(serialization, "safe_globals"):
        raise ValueError("it holds objects of PyG, which PyTorch 2.5 and later can read safely; upgrade torch")
    allowed: AbstractContextManager[Any] = serialization.safe_globals(_STAND_INS)
    return allowed


def _refusal(error: pickle.UnpicklingError) -> ValueError:
    # PyTorch's own message advises weights_only=False, which runs the code.
    found = re.search(r"(?i)unsupported (?:global|class):? (?:GLOBAL )?([\w.]+)", str(error))
    if found is None:
        return ValueError("it is damaged, or holds something else, where only tensors are allowed")
    way_out = "save a dict of its tensors"
    if found[1].startswith(_PYG):
        way_out = "save a dict of the tensors of each sample: torch.save(data.to_dict(), path)"
    elif found[1].startswith("numpy"):
        way_out = "save its arrays as tensors (torch.from_numpy), or as .npz"
    return ValueError(f"it holds {found[1]}, where only tensors are allowed; {way_out}")


def _path_to_map(file: BinaryIO) -> str | None:
    """Return a path of a file that PyTorch can map, where that is better than loading it."""
    path = path_to_map(file)
    return path if path is not None and zipfile.is_zipfile(file) else None  # the older format cannot be mapped


def _require_uncompressed(file: BinaryIO) -> None:
    """Raise `ValueError` where an archive holds more than it has bytes.

    `torch.save` compresses nothing, but `torch.load` decompresses whatever it finds.
    """
    if not file.seekable():
        return  # a pipe
    claimed = 0
    if zipfile.is_zipfile(file):  # the older format is a pickle with the values behind it
        with zipfile.ZipFile(file) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
    size = file.seek(0, 2)
    file.seek(0)
    if claimed > size:
        raise ValueError(f"it claims {claimed:,} bytes, and has {size:,}; expected what torch.save writes")


def _plain(value: Any, visits: Iterator[int] | None = None) -> Any:
    """Return a value with dicts in the place of PyG's objects, also in dicts, and text for their keys."""
    visits = count() if visits is None else visits
    if next(visits) > _MAX_VALUES:
        raise ValueError(f"it holds over {_MAX_VALUES:,} values; expected the tensors of a sample")
    content = _content_of(value)
    return value if content is None else {_text(key): _plain(item, visits) for key, item in content.items()}


def _content_of(value: Any) -> dict[Any, Any] | None:
    """Return what a dict or an object of PyG holds; None of anything else."""
    if isinstance(value, dict):
        return value
    if type(value).__module__.partition(".")[0] != _PYG or isinstance(value, type):
        return None
    state = vars(value)
    if "_node_store_dict" in state:  # HeteroData: names of nodes, and of edges, which are triples
        inner = [state.get(f"_{kind}_store_dict") for kind in ("node", "edge")]
        inner.insert(0, _content_of(state.get("_global_store")))
        return {key: item for one in inner if isinstance(one, dict) for key, item in one.items()}
    if "_store" in state:
        return _content_of(state["_store"])
    held = state.get("_mapping", state)  # the versions before 2.0 have no storage
    return {key: item for key, item in held.items() if not str(key).startswith("_")} if isinstance(held, dict) else None


def _text(key: Any) -> str:
    return "__".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _described(tensor: Any, is_mapped: bool) -> FieldDescription:
    import torch

    _require_own_values(tensor)
    # NumPy's form of another dtype is a copy.
    in_memory = not is_mapped or tensor.dtype == torch.bfloat16
    return FieldDescription(tuple(tensor.shape), _with_arrays(torch.empty(0, dtype=tensor.dtype)).dtype, in_memory)


def _require_own_values(tensor: Any) -> None:
    """Raise `ValueError` where a tensor repeats the same values, as one of a few bytes can without end."""
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > stored:
        raise ValueError(
            f"its tensor of shape {tuple(tensor.shape)} claims {claimed:,} bytes, and has {stored:,}; save it with "
            ".contiguous()"
        )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _with_arrays(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        _require_own_values(value)
    if isinstance(value, torch.Tensor):
        # NumPy has no bfloat16, and float32 holds all its values.
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: _with_arrays(item) for key, item in value.items()}
    return value
