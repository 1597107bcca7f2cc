"""Simulated kills before a chosen request to object storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from noether.data.zarr_store.stores.bucket import ObstoreBucket
from support.places import Place, local_place

__all__ = ["copy_to", "killed_before_request"]


class Killed(BaseException):
    """A simulated kill, which no handler of the library catches."""


@contextmanager
def killed_before_request(number: int) -> Iterator[list[str]]:
    """End the body before a put or delete, which are counted from 0. Yield the list of the sent requests."""
    sent: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        request = getattr(ObstoreBucket, name)

        def send(self: ObstoreBucket, *args: Any, **keywords: Any) -> Any:
            if len(sent) == number:
                raise Killed
            sent.append(name)
            return request(self, *args, **keywords)

        return send

    with (
        patch.object(ObstoreBucket, "put", counted("put")),
        patch.object(ObstoreBucket, "delete", counted("delete")),
        suppress(Killed),
    ):
        yield sent


def copy_to(place: Place, store: Path) -> None:
    """Fill an empty place with the files of a store."""
    for key in place.files():
        place.remove(key)
    for key, data in local_place(store).files().items():
        place.replace(key, data)
