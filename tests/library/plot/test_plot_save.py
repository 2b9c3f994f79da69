from dataclasses import replace
from xml.etree import ElementTree

import pytest
from figures import make_result
from matplotlib.figure import Figure
from PIL import Image
from surfaces import plane_surface

from landscape import plot
from landscape.errors import InputError, StoreError
from landscape.runtime.seal import is_own_figure

SIGNATURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "pgf": rb"\begingroup"}


@pytest.fixture(scope="module")
def figures():
    numbers = {kind: 2 if kind == "difference" else 1 for kind in plot.FIGURES}
    return {
        kind: plot.draw([make_result(kind)] * number, kind=kind) for kind, number in numbers.items()
    }


@pytest.mark.parametrize("suffix", plot.FORMATS)
def test_a_figure_is_saved_in_every_format(figures, suffix, tmp_path):
    path = plot.save_figure(figures["curve"], tmp_path / f"figure.{suffix}")
    assert path.read_bytes().startswith(SIGNATURES[suffix])


@pytest.mark.slow
@pytest.mark.parametrize("kind", plot.FIGURES)
def test_every_kind_is_saved_in_every_format(figures, kind, tmp_path):
    for suffix in plot.FORMATS:
        path = tmp_path / f"figure.{suffix}"
        if suffix == "pgf" and kind in ("heatmap", "surface", "layers"):
            with pytest.raises(InputError, match="lines and areas alone"):
                plot.save_figure(figures[kind], path)
            continue
        plot.save_figure(figures[kind], path)
        assert path.read_bytes().startswith(SIGNATURES[suffix])


@pytest.mark.parametrize("suffix", plot.FORMATS)
def test_drawing_and_saving_twice_gives_the_same_bytes(suffix, tmp_path):
    paths = [tmp_path / f"{name}.{suffix}" for name in ("first", "second")]
    for path in paths:
        plot.save_figure(plot.draw([make_result("filled")]), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("suffix", plot.FORMATS)
def test_the_seal_of_a_figure_holds_until_a_byte_changes(figures, suffix, tmp_path):
    path = plot.save_figure(figures["curve"], tmp_path / f"figure.{suffix}")
    assert is_own_figure(path)
    content = path.read_bytes()
    for place in (20, len(content) // 2, len(content) - 1):
        changed = bytes([content[place] ^ 1])
        path.write_bytes(content[:place] + changed + content[place + 1 :])
        assert not is_own_figure(path)


def test_a_sealed_png_is_a_whole_png(figures, tmp_path):
    path = plot.save_figure(figures["curve"], tmp_path / "figure.png")
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        image.load()
        assert image.text["Comment"].startswith("landscape figure sha256 ")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])  # of .pgf it needs TeX
def test_a_figure_of_matplotlib_is_not_ours(suffix, tmp_path):
    Figure().savefig(tmp_path / f"figure.{suffix}")
    (tmp_path / "empty.png").touch()
    assert not is_own_figure(tmp_path / f"figure.{suffix}")
    assert not is_own_figure(tmp_path / "empty.png")
    assert not is_own_figure(tmp_path)


def test_the_suffix_may_be_in_capitals(figures, tmp_path):
    assert plot.save_figure(figures["curve"], tmp_path / "FIGURE.PNG").exists()


@pytest.mark.parametrize("name", ["figure.jpg", "figure", ".png"])
def test_another_suffix_is_an_error_that_names_those_that_are_known(figures, name, tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf or \.pgf"):
        plot.save_figure(figures["curve"], tmp_path / name)


def test_a_folder_that_cannot_be_made_is_an_error(figures, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="part of its path is a file"):
        plot.save_figure(figures["curve"], tmp_path / "file" / "figure.png")


def test_a_folder_that_does_not_exist_is_made(figures, tmp_path):
    assert plot.save_figure(figures["curve"], tmp_path / "new" / "figure.png").stat().st_size > 1000


class InterruptedFigure(Figure):
    def savefig(self, fname, **kwargs):
        fname.write(b"half a fig")
        raise KeyboardInterrupt


def test_an_interrupted_save_leaves_the_earlier_file_and_nothing_else(figures, tmp_path):
    path = plot.save_figure(figures["curve"], tmp_path / "figure.png")
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        plot.save_figure(InterruptedFigure(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_svg_has_escapes_for_control_characters_of_names(tmp_path):
    surface = plane_surface(4, 3)
    losses = {f"\x1b[2J\u202e{split}": values for split, values in surface.loss.items()}
    poisoned = replace(surface, loss=losses, accuracy={}, direction_names=("\x07a", "to:\x9b.pt"))
    figure = plot.draw([poisoned], labels=["\x1bL"], title="\x00")
    path = plot.save_figure(figure, tmp_path / "a.svg")
    text = path.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert not set(text) & set("\x00\x07\x1b\x9b\u202e")
    assert r"\x1b[2J\u202etrain loss" in text
