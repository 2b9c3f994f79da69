"""Orthonormal vectors, kept in one precision and place, used in another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.reductions import MUCH_REMOVED, accumulation_dtype, norm

_TILE_ENTRIES = 1 << 20  # of a tile of short vectors: as many rows as that
_TILE_ROWS = 16  # of a tile of long ones
_TILE_WIDTH = 1 << 18
"""Entries of a vector that are copied to a device at a time: 32 MiB in float64, with its rows."""
_PIECE_WIDTH = 1 << 13
"""Entries of a vector that the CPU converts at a time: 1 MiB in float64, which stays in its cache.
Pieces of 2^16 took 1.4 times as long."""
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
        self._scratch = (
            torch.empty(self._tile_rows * min(size, _PIECE_WIDTH), dtype=self._accumulate)
            if is_converted and device.type == "cpu"
            else None
        )
        self._tiles: list[list[Tensor]] = []
        self._size = size
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, v: Tensor) -> Tensor:
        """Keep a vector (P,); return it as it is kept, in the accumulation dtype.

        It may be overwritten by that.
        """
        tile, row = divmod(self._count, self._tile_rows)
        if tile == len(self._tiles):
            rows = min(self._tile_rows, self._capacity - self._count)
            self._tiles.append(
                [torch.empty((rows, c.stop - c.start), **self._options) for c in self._columns]
            )
        self._count += 1
        is_rounded = v.dtype != self._options["dtype"]
        kept = v.to(self._device, self._accumulate)
        for part, columns in zip(self._tiles[tile], self._columns, strict=True):
            part[row] = v[columns]
            if is_rounded:
                kept[columns] = part[row]
        return kept

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
            found[rows].addmv_(part, v[columns])
        return found

    def subtract(self, v: Tensor, coefficients: Tensor) -> Tensor:
        """Return `v` (P,) without these multiples (count,) of the first vectors."""
        return self._add(v.clone(), coefficients, -1)

    def subtract_row(self, v: Tensor, index: int, coefficient: float) -> None:
        """Take this multiple of one vector off `v` (P,), in place."""
        tile, row = divmod(index, self._tile_rows)
        for part, columns in zip(self._tiles[tile], self._columns, strict=True):
            v[columns].sub_(self._used(part[row]), alpha=coefficient)

    def combine(self, coefficients: Tensor) -> Tensor:
        """Return the sum (P,) of these multiples (count,) of the first vectors."""
        return self._add(
            torch.zeros(self._size, device=self._device, dtype=self._accumulate), coefficients, 1
        )

    def remove(self, v: Tensor, count: int | None = None) -> Tensor:
        """Return the part of `v` (P,) that is orthogonal to the first vectors."""
        return self.split(v.to(self._device, self._accumulate, copy=True), count)[0]

    def split(self, v: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the part of `v` (P,) that is orthogonal to the first vectors, and the rest.

        The rest is told by its inner products (count,) with them. `v` is overwritten.
        """
        length, found = norm(v), self.coefficients(v, count)
        self._add(v, found, -1)
        if norm(v) < MUCH_REMOVED * length:
            more = self.coefficients(v, count)
            return self._add(v, more, -1), found + more
        return v, found

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
        """Yield each piece of the first `count` vectors as used, with its rows and columns.

        A piece may be overwritten by the next.
        """
        for number, tiles in enumerate(self._tiles):
            start = number * self._tile_rows
            stop = min(start + self._tile_rows, count)
            if start >= stop:
                return
            for tile, columns in zip(tiles, self._columns, strict=True):
                for piece, places in self._pieces(tile[: stop - start], columns):
                    yield piece, slice(start, stop), places

    def _pieces(self, tile: Tensor, columns: slice) -> Iterator[tuple[Tensor, slice]]:
        """Yield parts of a tile as used, each with its columns."""
        if self._scratch is None:
            yield self._used(tile), columns
            return
        for start in range(columns.start, columns.stop, _PIECE_WIDTH):
            part = tile[:, start - columns.start :][:, :_PIECE_WIDTH]
            piece = self._scratch[: part.numel()].view(part.shape)
            yield piece.copy_(part), slice(start, start + part.shape[1])

    def _used(self, part: Tensor) -> Tensor:
        """Copied first, then converted: in the other order the host would convert."""
        return part.to(self._device, non_blocking=True).to(self._accumulate)
