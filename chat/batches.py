"""Groups rows into lists that are small enough to read or write at once."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def of(sized: Iterable[tuple[T, int]], *, most: int, most_bytes: int) -> Iterator[list[T]]:
    """Yield the items by their sizes in bytes. Only an item by itself may exceed `most_bytes`."""
    batch: list[T] = []
    held = 0
    for one, size in sized:
        if batch and (len(batch) == most or held + size > most_bytes):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += size
    if batch:
        yield batch
