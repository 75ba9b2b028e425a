"""An iterator whose next items are made by a thread while the current one is worked with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar, cast

T = TypeVar("T")
END = object()


class Ahead(Generic[T]):
    """The items of an iterator, in its order; one thread makes all of them.

    Args:
        depth: items that are made before they are asked for.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self.source = source
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._made: deque[Future[object]] = deque()
        for _ in range(depth):
            self._order()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = self._made[0].result()
        if item is END:
            raise StopIteration
        self._made.popleft()
        self._order()
        return cast(T, item)

    def close(self) -> None:
        """End the thread; harmless when repeated."""
        self._maker.shutdown(wait=True, cancel_futures=True)

    def _order(self) -> None:
        self._made.append(self._maker.submit(next, self.source, END))
