import os
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.runtime import files
from landscape.runtime.files import locked, names_apart, replacing


def test_the_old_file_is_never_written_into(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as beside:
            beside.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def _write_half(path):
    with replacing(path) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt


def test_an_exception_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _write_half(path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["f"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with replacing(tmp_path / "link") as beside:
        beside.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def _lock_code(path):
    """Code that takes the lock and never lets go of it."""
    lock = f"files.locked(pathlib.Path({str(path)!r})).__enter__()"
    return f"import pathlib; from landscape.runtime import files; {lock}"


def test_a_lock_keeps_others_out_while_it_is_held(tmp_path):
    code = _lock_code(tmp_path / "a.h5")
    with locked(tmp_path / "a.h5"):
        refused = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        other = subprocess.run([sys.executable, "-c", code.replace("a.h5", "b.h5")], check=False)
    assert "is being written by another process" in refused.stderr
    assert other.returncode == 0
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a.h5"):
        pass


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_taken_again(tmp_path, monkeypatch):
    removed = tmp_path / ".a.h5.lock"
    acquire, calls = files.FileLock.acquire, []

    def acquire_late(lock, timeout):
        calls.append(acquire(lock, timeout))
        if len(calls) == 1:
            removed.unlink()

    monkeypatch.setattr(files.FileLock, "acquire", acquire_late)
    with locked(tmp_path / "a.h5"):
        assert removed.exists()
    assert len(calls) == 2


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path):
    code = f"{_lock_code(tmp_path / 'a.h5')}; import os; os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with locked(tmp_path / "a.h5"):
        pass


def test_who_has_the_lock_removes_what_killed_processes_left_half_written(tmp_path):
    path = tmp_path / "a[1].h5"
    code = f"""if True:
        import os, pathlib, landscape.runtime.files as f
        with f.replacing(pathlib.Path({str(path)!r})) as beside:
            beside.write_text("half")
            os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with locked(path):
        assert [file.name for file in tmp_path.iterdir()] == [".a[1].h5.lock"]


def test_a_write_removes_what_processes_that_are_gone_left_half_written(tmp_path):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    left, running = (tmp_path / f".a.h5.{pid}.h5" for pid in (int(gone.stdout), os.getppid()))
    for each in (left, running):
        each.touch()
    with replacing(tmp_path / "a.h5") as beside:
        beside.touch()
    assert (left.exists(), running.exists()) == (False, True)


@pytest.mark.parametrize(("own", "other"), [("a", ".a.7.h5.lock"), ("a.h5", ".a.h5.7.h5.12.h5")])
def test_who_has_the_lock_leaves_the_files_of_an_output_whose_name_begins_alike(
    tmp_path, own, other
):
    (tmp_path / other).touch()
    with locked(tmp_path / own):
        assert (tmp_path / other).exists()


def test_paths_are_told_apart_by_as_many_folders_as_it_takes():
    assert names_apart([Path("a/x.h5"), Path("b/y.h5")]) == ["x.h5", "y.h5"]
    assert names_apart([Path("a/x/c"), Path("b/x/c")]) == ["a/x/c", "b/x/c"]
