"""Orthonormal vectors, kept in one precision and place, used in another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.reductions import accumulation_dtype

_TILE_ENTRIES = 1 << 20  # of a tile of short vectors: as many rows as that
_TILE_ROWS = 16  # of a tile of long ones
_TILE_WIDTH = 1 << 18
"""Entries of a vector that are converted or copied at a time: 32 MiB in float64, with its rows."""
_ROTATED_AT_A_TIME = 1 << 14  # entries of every vector


class Basis:
    """Vectors (P,) in contiguous tiles of rows and columns, which are never copied all at once.

    What is computed with them is computed in the accumulation dtype on the device.

    Args:
        size: P.
        device: Where the computation is.
        dtype: In which they are kept.
        is_on_host: Whether they are kept in pinned host memory of a CUDA device.
        capacity: Vectors that there are at most.
    """

    def __init__(
        self,
        size: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        is_on_host: bool,
        capacity: int,
    ) -> None:
        self._accumulate = accumulation_dtype(device)
        self._device = device
        self._capacity = capacity
        is_converted = is_on_host or dtype != self._accumulate
        width = min(size, _TILE_WIDTH) if is_converted else size
        self._columns = [slice(start, min(start + width, size)) for start in range(0, size, width)]
        self._tile_rows = max(_TILE_ROWS, _TILE_ENTRIES // size)
        self._options = {
            "dtype": dtype,
            "device": torch.device("cpu") if is_on_host else device,
            "pin_memory": is_on_host and device.type == "cuda",
        }
        self._tiles: list[list[Tensor]] = []
        self._size = size
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, v: Tensor) -> Tensor:
        """Keep a vector (P,); return it as it is kept, in the accumulation dtype."""
        tile, row = divmod(self._count, self._tile_rows)
        if tile == len(self._tiles):
            rows = min(self._tile_rows, self._capacity - self._count)
            self._tiles.append(
                [torch.empty((rows, c.stop - c.start), **self._options) for c in self._columns]
            )
        for part, columns in zip(self._tiles[tile], self._columns, strict=True):
            part[row] = v[columns]
        self._count += 1
        return torch.cat([self._used(part[row]) for part in self._tiles[tile]])

    def kept_row(self, index: int) -> Tensor:
        """Return a vector (P,) in the dtype in which it is kept, on the CPU."""
        tile, row = divmod(index, self._tile_rows)
        return torch.cat([part[row].cpu() for part in self._tiles[tile]])

    def coefficients(self, v: Tensor, count: int | None = None) -> Tensor:
        """Return the inner products (count,) of `v` (P,) with the first vectors.

        If `count` is None, all vectors are used.
        """
        found = torch.zeros(
            len(self) if count is None else count, device=self._device, dtype=self._accumulate
        )
        for part, rows, columns in self._parts(len(found)):
            found[rows] += part @ v[columns]
        return found

    def subtract(self, v: Tensor, coefficients: Tensor) -> Tensor:
        """Return `v` (P,) without these multiples (count,) of the first vectors."""
        return self._add(v.clone(), coefficients, -1)

    def combine(self, coefficients: Tensor) -> Tensor:
        """Return the sum (P,) of these multiples (count,) of the first vectors."""
        return self._add(
            torch.zeros(self._size, device=self._device, dtype=self._accumulate), coefficients, 1
        )

    def remove(self, v: Tensor, count: int | None = None) -> Tensor:
        """Return the part of `v` (P,) that is orthogonal to the first vectors.

        The projection is done twice, since once is not accurate enough.
        """
        v = v.to(self._device, self._accumulate)
        for _ in range(2):
            v = self.subtract(v, self.coefficients(v, count))
        return v

    def rotate(self, coefficients: Tensor) -> None:
        """Replace the first m vectors by k combinations of them, (m, k).

        The vectors that follow are put directly behind the new ones.
        """
        m, k = coefficients.shape
        for number, columns in enumerate(self._columns):
            for start in range(0, columns.stop - columns.start, _ROTATED_AT_A_TIME):
                piece = slice(start, start + _ROTATED_AT_A_TIME)
                old = torch.cat([self._used(tiles[number][:, piece]) for tiles in self._tiles])
                for row, new in enumerate([*(coefficients.mT @ old[:m]), *old[m : self._count]]):
                    self._tiles[row // self._tile_rows][number][row % self._tile_rows, piece] = new
        self._count += k - m

    def _add(self, v: Tensor, coefficients: Tensor, sign: int) -> Tensor:
        for part, rows, columns in self._parts(len(coefficients)):
            v[columns].addmv_(part.mT, coefficients[rows], alpha=sign)
        return v

    def _parts(self, count: int) -> Iterator[tuple[Tensor, slice, slice]]:
        """Yield each piece of the first `count` vectors as used, with its rows and columns."""
        for number, tiles in enumerate(self._tiles):
            start = number * self._tile_rows
            stop = min(start + self._tile_rows, count)
            if start >= stop:
                return
            for tile, columns in zip(tiles, self._columns, strict=True):
                yield self._used(tile[: stop - start]), slice(start, stop), columns

    def _used(self, part: Tensor) -> Tensor:
        """Copied first, then converted: in the other order the host would convert."""
        return part.to(self._device, non_blocking=True).to(self._accumulate)
