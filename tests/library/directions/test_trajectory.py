"""The plane of a trajectory, against scikit-learn's PCA of all snapshots at once."""

import weakref

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from landscape.directions.trajectory import Snapshot, principal_directions
from landscape.errors import InputError


def random_walk(num_snapshots=9, size=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_snapshots, size, generator=generator, dtype=torch.float64).cumsum(0)


def snapshots_of(rows):
    return [Snapshot(f"epoch {i}", lambda row=row: row) for i, row in enumerate(rows)]


def principal(rows, origin, **options):
    return principal_directions(snapshots_of(rows), origin, **options)


def assert_same_plane(found, rows, num_directions=2):
    reference = PCA(num_directions, svd_solver="full").fit(rows.numpy())
    np.testing.assert_allclose(
        found.explained_variance, reference.explained_variance_ratio_, rtol=1e-10
    )
    for direction, component in zip(found.directions, reference.components_, strict=True):
        sign = np.sign(direction.numpy() @ component)
        np.testing.assert_allclose(sign * direction.numpy(), component, atol=1e-10)


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("block_size", [1, 2, 4, 9, None])
def test_directions_are_those_of_scikit_learn_for_any_block_size(num_directions, block_size):
    rows = random_walk()
    found = principal(rows, rows[-1], num_directions=num_directions, block_size=block_size)
    assert_same_plane(found, rows, num_directions)


def test_an_origin_that_is_no_snapshot_counts_as_one():
    rows = random_walk()
    assert_same_plane(principal(rows[:-1], rows[-1]), rows)


def test_directions_of_long_vectors_are_those_of_scikit_learn():
    rows = random_walk(4, 600_000)  # more than are converted at a time
    assert_same_plane(principal(rows, rows[-1]), rows)


def test_directions_are_orthogonal_unit_vectors_where_one_varies_a_million_times_more():
    basis, _ = torch.linalg.qr(random_walk(40, 2))
    scores = torch.stack(
        [torch.arange(7.0) * 1e6, torch.tensor([1.0, -1, 1, 1, -1, 1, 0])], dim=1
    ).double()
    found = principal(scores @ basis.T, torch.zeros(40, dtype=torch.float64))
    gram = torch.stack(found.directions) @ torch.stack(found.directions).T
    torch.testing.assert_close(gram, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-14)


def test_the_first_snapshot_has_positive_coordinates():
    for seed in range(4):
        rows = random_walk(seed=seed)
        for direction in principal(rows, rows[-1]).directions:
            assert (rows[0] - rows[-1]) @ direction > 0


def test_directions_have_the_dtype_of_the_origin():
    rows = random_walk().float()
    assert {direction.dtype for direction in principal(rows, rows[-1]).directions} == {
        torch.float32
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_snapshots_are_not_changed(dtype):
    rows = random_walk().to(dtype)
    before = rows.clone()
    principal(rows, rows[-1], block_size=2)
    assert torch.equal(rows, before)


class Disk:
    """Snapshots of two million weights each that are made when they are read, and counted while
    they live."""

    def __init__(self, num_snapshots, size):
        self.size = size
        self.num_alive = 0
        self.num_alive_at_reads = []
        self.snapshots = [
            Snapshot(f"epoch {i}", lambda i=i: self.read(i)) for i in range(num_snapshots)
        ]

    def read(self, i):
        generator = torch.Generator().manual_seed(i)
        w = torch.randn(self.size, generator=generator)
        self.num_alive += 1
        self.num_alive_at_reads.append(self.num_alive)
        weakref.finalize(w, self.forget)
        return w

    def forget(self):
        self.num_alive -= 1


@pytest.mark.parametrize(("num_snapshots", "block_size"), [(10, 1), (40, 3)])
def test_two_blocks_of_snapshots_are_in_memory_at_a_time(num_snapshots, block_size):
    disk = Disk(num_snapshots, size=2_000)
    principal_directions(disk.snapshots, torch.zeros(disk.size), block_size=block_size)
    assert max(disk.num_alive_at_reads) == 2 * block_size


def test_the_last_pass_has_one_snapshot_in_memory():
    disk = Disk(num_snapshots=12, size=10)
    principal_directions(disk.snapshots, torch.zeros(disk.size), block_size=3)
    assert disk.num_alive_at_reads[-12:] == [1] * 12


@pytest.mark.parametrize(("block_size", "num_reads"), [(12, 24), (6, 24), (4, 28)])
def test_a_block_that_is_needed_next_is_not_read_again(block_size, num_reads):
    disk = Disk(num_snapshots=12, size=10)
    principal_directions(disk.snapshots, torch.zeros(disk.size), block_size=block_size)
    assert len(disk.num_alive_at_reads) == num_reads  # 12 of them for the directions


@pytest.mark.parametrize(
    ("num_snapshots", "num_directions"), [(0, 2), (1, 2), (2, 2), (0, 1), (1, 1)]
)
def test_too_few_snapshots_are_refused(num_snapshots, num_directions):
    rows = random_walk()[-num_snapshots:] if num_snapshots else []
    message = (
        f"need at least {num_directions + 1} snapshots, the checkpoint counted, "
        f"got {max(1, num_snapshots)}"
    )
    with pytest.raises(InputError, match=message):
        principal(rows, random_walk()[-1], num_directions=num_directions)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_snapshots_on_a_line_up_to_rounding_span_no_plane_but_that_line(dtype):
    start, stop = random_walk(2, 1000).to(dtype)
    rows = torch.stack(
        [start + share * (stop - start) for share in torch.linspace(0, 1, 6, dtype=dtype)]
    )
    with pytest.raises(InputError, match="must span a plane, all are on one line"):
        principal(rows, rows[-1])
    (direction,) = principal(rows, rows[-1], num_directions=1).directions
    expected = (start - rows[-1]) / (start - rows[-1]).norm()
    torch.testing.assert_close(direction, expected, rtol=1e-4, atol=1e-6)


def test_equal_snapshots_are_refused():
    with pytest.raises(InputError, match="all are the same"):
        principal(torch.ones(5, 7), torch.ones(7))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_snapshot_that_is_not_finite_is_named(value):
    rows = random_walk()
    rows[3, 5] = value
    with pytest.raises(InputError, match="must be finite, epoch 3 holds NaN or inf"):
        principal(rows, rows[-1])


def test_a_snapshot_of_another_shape_is_named():
    rows = [*random_walk()[:4], torch.zeros(7)]
    with pytest.raises(
        InputError,
        match=r"epoch 4 must be a flat vector of the model's 40 weights, got shape \(7,\)",
    ):
        principal(rows, random_walk()[-1])
