"""Films, read back with Pillow and ffmpeg."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from figures import make_surface
from PIL import Image

from landscape import plot
from landscape.errors import InputError, StoreError
from landscape.plot import film
from landscape.results.surface import Mark

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def with_path(count=4):
    """A surface with snapshots along its diagonal."""
    surface = make_surface()
    ends = [np.linspace(axis[1], axis[-2], count) for axis in (surface.x, surface.y)]
    marks = tuple(
        Mark(f"epoch {i}", "snapshot", (float(x), float(y)), 0.0, {}, {})
        for i, (x, y) in enumerate(zip(*ends, strict=True))
    )
    return replace(surface, marks=marks)


def on_a_line():
    """A surface on a line."""
    plane = make_surface()
    cut = {split: values[0] for split, values in plane.loss.items()}
    return replace(plane, y=None, done=plane.done[0], loss=cut, accuracy={}, marks=())


def frames_of(path):
    """The frames of a GIF as arrays."""
    image = Image.open(path)
    found = []
    for number in range(image.n_frames):
        image.seek(number)
        found.append(np.asarray(image.convert("RGB"), dtype=int))
    return found


@pytest.fixture(autouse=True, scope="module")
def small():
    with plot.use_style("paper", width=2.5, dpi=60):
        yield


def test_a_path_grows_by_a_snapshot_in_each_frame_and_nothing_else_moves(tmp_path):
    surface = with_path(4)
    assert plot.animate([surface], tmp_path / "a.gif", seconds=3) == 3
    image = Image.open(tmp_path / "a.gif")
    assert (image.n_frames, image.info["duration"]) == (3, 1000)
    one, two, three = frames_of(tmp_path / "a.gif")
    assert one.shape == two.shape == three.shape
    moved = [np.abs(a - b).max(2) > 60 for a, b in ((one, two), (two, three))]
    for changed in moved:
        assert 0 < changed.mean() < 0.1


def test_files_that_follow_each_other_share_their_scale(tmp_path, monkeypatch):
    flat = make_surface()
    steep = replace(flat, loss={split: 10 * values for split, values in flat.loss.items()})
    drawn = []
    monkeypatch.setattr(
        film, "_image", lambda figure: drawn.append(figure) or Image.new("RGB", (4, 4))
    )
    assert plot.animate([flat, steep], tmp_path / "a.gif", labels=["a", "b"]) == 2
    bars = [figure.axes[-1].get_ylim() for figure in drawn]
    assert bars[0] == bars[1]
    assert [figure.axes[0].get_title() for figure in drawn] == ["a", "b"]


def test_a_turn_goes_around_once_from_one_height(tmp_path, monkeypatch):
    seen = []

    def note(figure):
        seen.append(
            (figure.axes[0].elev, figure.axes[0].azim, figure.axes[0].get_position().bounds)
        )
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr(film, "_image", note)
    assert plot.animate([make_surface()], tmp_path / "a.gif", seconds=1) == 12
    elevations, azimuths, places = map(list, zip(*seen, strict=True))
    assert set(elevations) == {35.0}
    assert len(set(places)) == 1
    np.testing.assert_allclose(np.diff(azimuths), 30)


@pytest.mark.slow
def test_an_mp4_has_even_sizes_and_the_length_that_was_asked_for(tmp_path):
    assert plot.animate([with_path()], tmp_path / "a.mp4", seconds=2) == 3
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert seconds == pytest.approx(2, abs=0.1)
    assert count == pytest.approx(48, abs=2)
    width, height = next(imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4")))["size"]
    assert (width % 2, height % 2) == (0, 0)


def test_a_page_holds_the_film_and_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "_ffmpeg", lambda is_needed: None)
    plot.animate([with_path()], tmp_path / "a.html", title="A <film>")
    page = (tmp_path / "a.html").read_text()
    assert 'src="data:image/gif;base64,' in page
    assert 'alt="A &lt;film&gt;"' in page
    assert "http" not in page


def test_without_ffmpeg_an_mp4_is_an_error_that_names_the_gif(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match="needs ffmpeg") as caught:
        plot.animate([with_path()], tmp_path / "a.mp4")
    assert ".gif" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_ffmpeg_cannot_write_says_so(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, b"", b"no encoder")
    monkeypatch.setattr("subprocess.run", lambda *args, **options: failed)
    with pytest.raises(InputError, match="no encoder"):
        plot.animate([with_path()], tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ([make_surface()], {"along": "path"}, "two snapshots at least, got 0"),
        ([make_surface()], {"along": "files"}, "several files, got 1"),
        ([with_path(), with_path()], {"along": "turn"}, "one file, got 2"),
        ([make_surface()], {"along": "rho"}, "path, files, turn"),
        ([make_surface()], {"seconds": 0}, "up to 60 seconds, got 0"),
        ([make_surface()], {"along": "turn", "kind": "contour"}, "what turns is the kind surface"),
        ([make_surface()], {"labels": ["a", "b"]}, "one label for each surface, got 2 for 1"),
        ([], {}, "surfaces on planes"),
        ([on_a_line()], {}, "surfaces on planes"),
    ],
)
def test_what_cannot_move_is_a_sentence(results, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        plot.animate(results, tmp_path / "a.gif", **options)


def test_frames_that_would_fill_the_memory_are_refused_at_the_first(tmp_path, monkeypatch):
    drawn = []

    def large(figure):
        drawn.append(figure)
        return Image.new("RGB", (4000, 4000))

    monkeypatch.setattr(film, "_image", large)
    with pytest.raises(InputError, match=r"1e\+09 dots together, got 1.2e\+10") as caught:
        plot.animate([make_surface()], tmp_path / "a.gif", seconds=60)
    assert "dpi" in caught.value.hint
    assert len(drawn) == 1


def test_another_suffix_and_a_folder_that_is_a_file_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"\.gif, \.mp4, \.html"):
        plot.animate([with_path()], tmp_path / "a.avi")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="part of its path is a file"):
        plot.animate([with_path(2)], tmp_path / "file" / "a.gif")
