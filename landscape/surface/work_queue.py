"""Work shared by processes: free ones take the next item, and the first one takes the results."""

# pyright: reportPrivateImportUsage=false
# torch.distributed does not list its stores among what it exports.

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

import torch.distributed as dist

from landscape.runtime import distributed

Item = TypeVar("Item")
Value = TypeVar("Value")

_SECONDS_BETWEEN_LOOKS = 0.02

_queues = count()  # all processes open their queues in the same order


def worked_off(
    items: Sequence[Item], compute: Callable[[Item], Value], should_stop: Callable[[], bool]
) -> Iterator[tuple[Item, Value]]:
    """Compute every item once, in any of the processes that work together.

    In a process that runs alone, they are computed one after the other.

    Args:
        items: The same in all processes. They are begun in this order.
        compute: Must give the same value in every process.
        should_stop: Is asked before each item, in the first process; if it says so, no further one
            is begun.

    Yields:
        In the first process, items and values as they come; in the others nothing.
    """
    if not distributed.is_on():
        for item in items:
            if should_stop():
                return
            yield item, compute(item)
        return
    queue = _Queue(len(items))
    if distributed.rank() > 0:
        while (number := queue.claim()) is not None:
            queue.deliver(number, compute(items[number]))
        return
    while not should_stop() and (number := queue.claim()) is not None:
        yield items[number], compute(items[number])
        yield from ((items[other], value) for other, value in queue.arrived())
    queue.close()
    while queue.is_waiting():
        yield from ((items[other], value) for other, value in queue.arrived())
        time.sleep(_SECONDS_BETWEEN_LOOKS)


class _Queue:
    """Numbered items, handed out by the process group's store.

    The store survives whatever waits for it.
    """

    def __init__(self, num_items: int) -> None:
        store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(f"queue-{next(_queues)}", store)
        self._num_items = num_items
        self._num_own = 0
        self._num_arrived = 0
        self._num_claimed = 0

    def claim(self) -> int | None:
        """Take the next item; None if there is none left."""
        number = self._store.add("claimed", 1) - 1
        if number >= self._num_items:
            return None
        self._num_own += 1
        return number

    def deliver(self, number: int, value: object) -> None:
        """Send a value to the first process."""
        place = self._store.add("delivered", 1) - 1
        self._store.set(f"value-{place}", pickle.dumps((number, value)))  # pyright: ignore[reportArgumentType]  # bytes will do

    def arrived(self) -> Iterator[tuple[int, Any]]:
        """Yield what the other processes have sent since."""
        for place in range(self._num_arrived, self._store.add("delivered", 0)):
            self._num_arrived += 1
            yield pickle.loads(self._store.get(f"value-{place}"))
            self._store.delete_key(f"value-{place}")

    def close(self) -> None:
        """Let nobody begin another item."""
        claimed = self._store.add("claimed", self._num_items) - self._num_items
        self._num_claimed = min(claimed, self._num_items)

    def is_waiting(self) -> bool:
        """Whether items that other processes have begun before `close` are still to come."""
        return self._num_own + self._num_arrived < self._num_claimed
