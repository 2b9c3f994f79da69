"""A figure that was drawn before is drawn anew; other files are kept."""

import pytest

SUFFIXES = (".png", ".svg", ".pdf", ".html")


@pytest.fixture(scope="module")
def history(trained):
    return trained / "history.h5"


@pytest.fixture(scope="module")
def surface(run, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("again") / "s.h5"
    assert run("surface", checkpoint, "--samples", 20, "--grid", 3, "--out", path).code == 0
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_its_own_figure_is_replaced(run, surface, tmp_path, suffix):
    path = tmp_path / f"figure{suffix}"
    assert run("plot", surface, "--out", path, "--title", "first").code == 0
    before = path.read_bytes()
    answer = run("plot", surface, "--out", path, "--title", "second")
    assert answer.code == 0, answer.err
    assert path.read_bytes() != before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_figure_that_was_edited_is_kept(run, surface, tmp_path, suffix):
    path = tmp_path / f"figure{suffix}"
    assert run("plot", surface, "--out", path).code == 0
    path.write_bytes(path.read_bytes() + b"\n")
    answer = run("plot", surface, "--out", path)
    assert answer.code == 1
    assert "exists" in answer.err
    assert path.read_bytes().endswith(b"\n\n") or suffix == ".png"
    assert run("plot", surface, "--out", path, "--force").code == 0


def test_a_figure_under_the_name_of_another_format_is_kept(run, history, tmp_path):
    assert run("plot", history, "--out", tmp_path / "f.png").code == 0
    (tmp_path / "f.png").rename(tmp_path / "f.pdf")
    assert run("plot", history, "--out", tmp_path / "f.pdf").code == 1


def test_results_stay_guarded(run, history):
    before = history.read_bytes()
    assert run("plot", history, "--out", history).code == 1
    assert history.read_bytes() == before
