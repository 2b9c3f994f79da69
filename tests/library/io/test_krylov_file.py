import os
import shutil
import signal
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum
from processes import Started

from landscape.errors import StoreError
from landscape.hessian.krylov.krylov_sink import NOT_SAVED, KrylovHead
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.memory_plan import MemoryPlan, num_kept
from landscape.hessian.operator import MatrixOperator
from landscape.io.krylov_file import KrylovFile

VALUES = [10.0, 8.0, 6.0, 5.0, *np.linspace(-1, 1, 195).tolist(), -1.02]
MATRIX = symmetric_with_spectrum(VALUES)
IDENTITY = {"weights_hash": "a1", "curvature": "hessian"}
ROOMY = MemoryPlan(200, torch.device("cpu"), torch.float64, False, 200, 200, 20, 20, 0, 0)
NARROW = replace(ROOMY, dtype=torch.float32, vectors=17, kept=num_kept(17, 5))
PLANS = pytest.mark.parametrize("plan", [ROOMY, NARROW], ids=["whole", "restarting"])


class _Stopping(MatrixOperator):
    """Fails before the product of a number."""

    def __init__(self, matrix, stop_at):
        super().__init__(matrix)
        self.left = stop_at

    def matvec(self, v):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().matvec(v)


def _run(operator=None, sink=NOT_SAVED, *, plan=ROOMY, matrix=MATRIX, **options):
    options = {"top_k": 4, "bottom_k": 1, "tolerance": 1e-7, "seed": 3, **options}
    return lanczos(operator or MatrixOperator(matrix), memory=plan, sink=sink, **options)


def _file(path, **options):
    return KrylovFile(path, {**IDENTITY, **options}, resume=True)


def _assert_equal(found, expected):
    np.testing.assert_array_equal(found.eigenvalues, expected.eigenvalues)
    np.testing.assert_array_equal(found.bottom_eigenvalues, expected.bottom_eigenvalues)
    np.testing.assert_array_equal(found.residuals, expected.residuals)
    np.testing.assert_array_equal(found.space.projected, expected.space.projected)
    assert torch.equal(found.vectors, expected.vectors)
    assert (found.num_matvecs, found.asymmetry) == (expected.num_matvecs, expected.asymmetry)
    assert found.second_look == expected.second_look


@PLANS
def test_saving_changes_nothing(tmp_path, plan):
    _assert_equal(_run(sink=_file(tmp_path / "k.h5"), plan=plan), _run(plan=plan))


@PLANS
@pytest.mark.parametrize("stop_at", [0, 1, 2, 11, 16, 17, 18, 23, 30, 46])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, plan, stop_at):
    path = tmp_path / "k.h5"
    with pytest.raises(KeyboardInterrupt):
        _run(_Stopping(MATRIX, stop_at), _file(path), plan=plan)
    operator = _Stopping(MATRIX, 1000)
    found = _run(operator, _file(path), plan=plan)
    expected = _run(plan=plan)
    _assert_equal(found, expected)
    num_saved = min(stop_at, expected.num_matvecs - 5 - expected.second_look.num_matvecs)
    assert 1000 - operator.left == expected.num_matvecs - num_saved


def test_a_run_that_breaks_down_goes_on_bit_for_bit(tmp_path):
    matrix = symmetric_with_spectrum([2.0, 2.0, 2.0, 1.0, 0.0, 0.0, 0.0, -1.0])
    plan = replace(ROOMY, size=8, vectors=8, longest=8)
    expected = _run(matrix=matrix, plan=plan)
    for stop_at in range(7):
        with pytest.raises(KeyboardInterrupt):
            _run(_Stopping(matrix, stop_at), _file(tmp_path / f"{stop_at}.h5"), plan=plan)
        _assert_equal(
            _run(matrix=matrix, sink=_file(tmp_path / f"{stop_at}.h5"), plan=plan), expected
        )


@pytest.mark.slow
@PLANS
def test_a_run_that_is_stopped_again_and_again_comes_to_its_end(tmp_path, plan):
    path = tmp_path / "k.h5"
    for _ in range(9):
        with pytest.raises(KeyboardInterrupt):
            _run(_Stopping(MATRIX, 3), _file(path), plan=plan)
    _assert_equal(_run(sink=_file(path), plan=plan), _run(plan=plan))


class _Copying(KrylovFile):
    """Copies its file after everything that it writes."""

    def __init__(self, path, folder):
        super().__init__(path, IDENTITY, resume=True)
        self.path, self.folder = path, folder

    def begin(self, *arguments, **options):
        super().begin(*arguments, **options)
        self._copy()

    def append(self, step, row):
        super().append(step, row)
        self._copy()

    def _copy(self):
        shutil.copy(self.path, self.folder / f"{len(list(self.folder.iterdir())):03}.h5")


@pytest.mark.slow
@PLANS
def test_every_copy_of_the_file_leads_to_the_same_end(tmp_path, plan):
    folder = tmp_path / "copies"
    folder.mkdir()
    expected = _run(sink=_Copying(tmp_path / "k.h5", folder), plan=plan)
    copies = sorted(folder.iterdir())
    assert len(copies) > 30
    for copy in copies[::6]:
        _assert_equal(_run(sink=_file(copy), plan=plan), expected)


def _run_and_be_killed(path, plan_name, after_writes):
    """End by SIGKILL within the n-th write of a vector or of numbers."""
    left = [after_writes]

    def be_killed_after(write):
        def write_and_be_killed(*arguments):
            write(*arguments)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return write_and_be_killed

    h5py.Dataset.__setitem__ = be_killed_after(h5py.Dataset.__setitem__)
    KrylovFile._put = be_killed_after(KrylovFile._put)
    _run(sink=_file(path), plan=globals()[plan_name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan_name", "after_writes"), [("ROOMY", 1), ("ROOMY", 30), ("NARROW", 47), ("NARROW", 56)]
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, plan_name, after_writes):
    path, plan = tmp_path / "k.h5", globals()[plan_name]
    process = Started(_run_and_be_killed, path, plan_name, after_writes)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    _assert_equal(_run(sink=_file(path), plan=plan), _run(plan=plan))


def test_who_reads_the_file_meanwhile_does_not_end_the_run(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "k.h5"
    with pytest.raises(KeyboardInterrupt):
        _run(_Stopping(MATRIX, 6), _file(path))
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        _assert_equal(_run(sink=_file(path)), _run())


def test_a_vector_without_its_numbers_does_not_count(tmp_path):
    path = tmp_path / "k.h5"
    with pytest.raises(KeyboardInterrupt):
        _run(_Stopping(MATRIX, 6), _file(path))
    with h5py.File(path, "r+") as file:
        file["basis"][7] = np.nan
        file["steps"][6, 0] = 1.0  # a write that was cut in two
    _assert_equal(_run(sink=_file(path)), _run())


def test_a_larger_limit_a_finer_tolerance_and_more_eigenvalues_go_on(tmp_path):
    path = tmp_path / "k.h5"
    first = _run(sink=_file(path), max_matvecs=16, top_k=3)
    assert not first.converged
    operator = _Stopping(MATRIX, 1000)
    further = _run(operator, _file(path), top_k=5, tolerance=1e-9)
    np.testing.assert_allclose(further.eigenvalues, np.sort(VALUES)[::-1][:5], atol=1e-8)
    assert 1000 - operator.left == further.num_matvecs - 12


def test_a_file_grows_where_the_limit_does(tmp_path):
    path = tmp_path / "k.h5"
    _run(sink=_file(path), plan=replace(ROOMY, vectors=10, longest=10), max_matvecs=15)
    with h5py.File(path) as file:
        assert file["basis"].shape == (11, 200)
    found = _run(sink=_file(path))
    with h5py.File(path) as file:
        assert len(file["basis"]) > 11
        assert np.isfinite(file["steps"][()]).all(1).sum() == found.space.size
    _assert_equal(found, _run())
    _assert_equal(_run(sink=_file(path)), _run())


def test_a_basis_that_has_more_than_the_plan_is_cut(tmp_path):
    path, large = tmp_path / "k.h5", replace(NARROW, vectors=200, kept=20)
    _run(sink=_file(path), plan=large, max_matvecs=30)
    found = _run(sink=_file(path), plan=NARROW)
    np.testing.assert_allclose(found.eigenvalues, VALUES[:4], rtol=1e-6)
    assert found.converged
    assert found.space.size <= 17


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "the seed of .*: 3 there, 4 here"),
        ({"start": torch.ones(200)}, "the start of .*: random there, "),
        ({"plan": NARROW}, "the dtype of the basis of .*: float64 there, float32 here"),
        (
            {"matrix": MATRIX.float()},
            "the dtype of the products of .*: float64 there, float32 here",
        ),
        (
            {"matrix": MATRIX[:9, :9], "plan": replace(ROOMY, size=9)},
            "the parameters of .*: 200 there, 9 here",
        ),
    ],
)
def test_a_space_of_another_run_is_refused(tmp_path, change, message):
    _run(sink=_file(tmp_path / "k.h5"))
    with pytest.raises(StoreError, match=message):
        _run(sink=_file(tmp_path / "k.h5"), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_hash": "b2"}, "the weights_hash of .*: a1 there, b2 here"),
        ({"bn": "x"}, "bn of .*: not said there"),
    ],
)
def test_a_space_of_something_else_is_refused(tmp_path, change, message):
    _run(sink=_file(tmp_path / "k.h5"))
    with pytest.raises(StoreError, match=message):
        _run(sink=_file(tmp_path / "k.h5", **change))


def test_without_resume_a_run_starts_anew(tmp_path):
    _run(sink=_file(tmp_path / "k.h5"))
    operator = _Stopping(MATRIX, 1000)
    found = _run(operator, KrylovFile(tmp_path / "k.h5", {"weights_hash": "b2"}, resume=False))
    assert 1000 - operator.left == found.num_matvecs


@pytest.mark.parametrize("content", [b"", b"not HDF5", None])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "k.h5"
    _run(sink=_file(path))
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(StoreError, match="is damaged or holds no Krylov space"):
        _run(sink=_file(path))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        _run(sink=_file(tmp_path / "file" / "k.h5"))


def test_room_for_vectors_takes_none_on_the_disk(tmp_path):
    path = tmp_path / "k.h5"
    size = 100_000
    KrylovFile(path, {}, resume=False).begin(KrylovHead(), [np.zeros(size)], capacity=300)
    assert path.stat().st_size > 300 * 8 * size
    assert path.stat().st_blocks * 512 < 3 * 8 * size


def test_the_numbers_come_before_the_vectors_in_the_file(tmp_path):
    _run(sink=_file(tmp_path / "k.h5"))
    with h5py.File(tmp_path / "k.h5") as file:
        assert file["steps"].id.get_offset() < file["basis"].id.get_offset()


def test_it_can_be_removed(tmp_path):
    sink = _file(tmp_path / "k.h5")
    _run(sink=sink)
    sink.remove()
    assert list(tmp_path.iterdir()) == []
