"""Loading ``.pt`` files of PyTorch: a tensor, a dict of tensors, or a `Data` of PyTorch Geometric (PyG).

Code in the files is never run.
"""

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

# Nested references can make a dict of a few bytes endlessly large.
_MAX_VALUES = 1 << 17

_PYG = "torch_geometric"
# The classes in a pickled `Data` or `HeteroData`. PyG is not needed to read them: empty classes of the same names
# receive the state, so no code of PyG is called.
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
# The list of classes that PyTorch unpickles is global, so threads take turns.
_STAND_INS_LOCK = Lock()


def load_pt(file: BinaryIO) -> Any:
    """Load a ``.pt`` file as an array or a dict, with tensors converted to arrays.

    Raises
    ------
    ValueError
        The file holds other objects, is damaged, or claims more bytes than it holds.
    MissingDependencyError
        PyTorch is not installed.
    """
    return _with_arrays(_load(file, "cpu"))


def head_of_pt(file: BinaryIO) -> FieldDescription:
    """Describe the only tensor of a ``.pt`` file. Raises `TypeError` for other content, and the errors of `load_pt`."""
    content = _load(file, "meta")
    if not _is_tensor(content):
        raise TypeError(f"expected one tensor, got a {type(content).__name__}")
    return _described(content, is_mapped=_path_to_map(file) is not None)


def tensor_heads(file: BinaryIO) -> dict[str, FieldDescription]:
    """Describe the tensors of a ``.pt`` file by flattened name (see `flattened`).

    Raises `TypeError` if the file does not hold a dict, and the errors of `load_pt`.
    """
    is_mapped = _path_to_map(file) is not None
    return {name: _described(tensor, is_mapped) for name, tensor in _tensors(file, "meta").items()}


def load_tensors(file: BinaryIO, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Load tensors of a ``.pt`` file as arrays; `names` are keys of `tensor_heads`, whose errors it raises."""
    tensors = _tensors(file, "cpu")
    return {name: _with_arrays(tensors[name]) for name in names}


def flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested dicts by path: ``a/b`` is the value ``b`` of the dict ``a``.

    Raises
    ------
    ValueError
        Two values have the same name.
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = flattened(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
        if flat.keys() & inner.keys():
            raise ValueError(f"two of its values have the name {min(flat.keys() & inner.keys())!r}; rename one")
        flat |= inner
    return flat


def _tensors(file: BinaryIO, device: str) -> dict[str, Any]:
    content = _load(file, device)
    if _is_tensor(content):
        raise TypeError("it holds one tensor without a name; write the file as a field: { file = ... }")
    if not isinstance(content, dict):
        raise TypeError(f"expected a dict of tensors, got a {type(content).__name__}; save each sample to its own file")
    return {name: value for name, value in flattened(content).items() if _is_tensor(value)}


def _load(file: BinaryIO, device: str) -> Any:
    """Load the content of a file, with dicts in place of PyG's objects. The device ``meta`` reads no values."""
    try:
        content = _unpickle(file, device, nullcontext())
    except pickle.UnpicklingError as error:
        if _PYG not in str(error):
            raise _refusal(error) from error
        content = _unpickle_pyg(file, device)
    try:
        return _plain(content)
    except RecursionError as error:
        raise ValueError(
            "expected the tensors of a sample, got endlessly nested dicts; save a dict of tensors"
        ) from error


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
    """Return a context in which PyTorch unpickles the objects of PyG as objects of empty classes."""
    from torch import serialization

    if not hasattr(serialization, "safe_globals"):
        raise ValueError("it holds objects of PyG, which only PyTorch 2.5 and later reads safely; upgrade torch")
    allowed: AbstractContextManager[Any] = serialization.safe_globals(_STAND_INS)
    return allowed


def _refusal(error: pickle.UnpicklingError) -> ValueError:
    # PyTorch's own message advises weights_only=False, which runs code from the file.
    found = re.search(r"(?i)unsupported (?:global|class):? (?:GLOBAL )?([\w.]+)", str(error))
    if found is None:
        return ValueError("it is damaged, or holds other objects, where only tensors are allowed")
    way_out = "save a dict of its tensors"
    if found[1].startswith(_PYG):
        way_out = "save a dict of the tensors of each sample: torch.save(data.to_dict(), path)"
    elif found[1].startswith("numpy"):
        way_out = "save its arrays as tensors (torch.from_numpy), or as .npz"
    return ValueError(f"it holds {found[1]}, where only tensors are allowed; {way_out}")


def _path_to_map(file: BinaryIO) -> str | None:
    """Return a path for memory-mapping a file; None if it is small, remote, or in PyTorch's older format."""
    path = path_to_map(file)
    return path if path is not None and zipfile.is_zipfile(file) else None  # the older format cannot be memory-mapped


def _require_uncompressed(file: BinaryIO) -> None:
    """Raise `ValueError` if an archive claims more bytes than the file has, which means that it is compressed.

    `torch.save` does not compress, but `torch.load` would decompress any amount of data.
    """
    if not file.seekable():
        return  # a pipe
    claimed = 0
    if zipfile.is_zipfile(file):  # the older format is a pickle followed by the values
        with zipfile.ZipFile(file) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
    size = file.seek(0, 2)
    file.seek(0)
    if claimed > size:
        raise ValueError(f"it claims {claimed:,} bytes but has {size:,}; save it with torch.save, uncompressed")


def _plain(value: Any, visits: Iterator[int] | None = None) -> Any:
    """Return a value with PyG's objects replaced by dicts, recursively, and with text as keys."""
    visits = count() if visits is None else visits
    if next(visits) > _MAX_VALUES:
        raise ValueError(
            f"expected the tensors of a sample, got over {_MAX_VALUES:,} values; save each sample to its own file"
        )
    content = _content_of(value)
    return value if content is None else {_text(key): _plain(item, visits) for key, item in content.items()}


def _content_of(value: Any) -> dict[Any, Any] | None:
    """Return the content of a dict or of an object of PyG as a dict; None for other values."""
    if isinstance(value, dict):
        return value
    if type(value).__module__.partition(".")[0] != _PYG or isinstance(value, type):
        return None
    state = vars(value)
    if "_node_store_dict" in state:  # HeteroData: keys are types of nodes, or triples for edges
        inner = [state.get(f"_{kind}_store_dict") for kind in ("node", "edge")]
        inner.insert(0, _content_of(state.get("_global_store")))
        return {key: item for one in inner if isinstance(one, dict) for key, item in one.items()}
    if "_store" in state:
        return _content_of(state["_store"])
    held = state.get("_mapping", state)  # PyG before 2.0 has no storages
    return {key: item for key, item in held.items() if not str(key).startswith("_")} if isinstance(held, dict) else None


def _text(key: Any) -> str:
    return "__".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _described(tensor: Any, is_mapped: bool) -> FieldDescription:
    import torch

    _require_own_values(tensor)
    # NumPy has no bfloat16, so such a tensor is copied.
    in_memory = not is_mapped or tensor.dtype == torch.bfloat16
    return FieldDescription(tuple(tensor.shape), _with_arrays(torch.empty(0, dtype=tensor.dtype)).dtype, in_memory)


def _require_own_values(tensor: Any) -> None:
    """Raise `ValueError` if a tensor is larger than its storage: strides of 0 can make a few bytes endlessly large."""
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > stored:
        raise ValueError(
            f"its tensor of shape {tuple(tensor.shape)} claims {claimed:,} bytes but has {stored:,}; save it with "
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
