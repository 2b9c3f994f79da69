"""Interactive pages in a headless Chromium: one camera for all scenes, and the width of a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest
from figures import make_surface

from landscape import plot

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=30000",
    "--dump-dom",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

TELL = """
<script>
const pause = () => new Promise((done) => setTimeout(done, 500));
const waitUntil = async (isSo) => { for (let i = 0; i < 40 && !isSo(); i++) await pause(); };
const areAt = (x) => () => cameras().every((eye) => eye && Math.abs(eye.x - x) < 1e-6);
const cameras = () => scenes.map((name) => cameraOf(name)?.eye ?? null);
async function tell() {
  await waitUntil(() => plot._fullLayout && !isOwn);
  await pause();
  const found = {};
  %s
  parent.document.body.dataset.found = JSON.stringify(found);
}
addEventListener("load", tell);
</script>
"""

CAMERAS = """
  await waitUntil(() => cameras().every(Boolean));
  await Plotly.relayout(plot, { "scene2.camera": { ...camera, eye: { x: 1, y: 2, z: 0.5 } } });
  await waitUntil(areAt(1));
  found.turned = cameras();
  for (const [menu, value] of [["menu-0", 1], ["menu-1", 1], ["menu-1", 0]]) {
    const chosen = document.getElementById(menu);
    chosen.value = value;
    chosen.dispatchEvent(new Event("change"));
    await pause();
    await waitUntil(() => !isOwn);
  }
  found.chosen = cameras();
  plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", cancelable: true }));
  await waitUntil(() => !isOwn && !areAt(1)() && areAt(cameras()[0].x)());
  found.pressed = cameras();
"""

TEXTS = """
  found.boxes = [];
  for (const each of document.querySelectorAll("h1, select, #plot text, footer p")) {
    const box = each.getBoundingClientRect();
    const text = each.tagName === "SELECT" ? "menu" : each.textContent.trim();
    if (text && box.width) found.boxes.push([text, box.left, box.top, box.right, box.bottom]);
  }
"""


def told(page, actions, folder, width):
    """Return what actions on a page find, in a frame of so many pixels."""
    (folder / "page.html").write_text(page.replace("</body>", TELL % actions + "</body>"))
    frame = folder / "frame.html"
    frame.write_text(f"<body><iframe src=page.html width={width} height=1200></iframe></body>")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (found,) = re.findall(r'data-found="(.*?)"', done.stdout)
    return json.loads(html.unescape(found))


@pytest.fixture(scope="module")
def two():
    return [make_surface(), make_surface()]


def near(eye):
    return pytest.approx(eye, abs=1e-6)


def test_all_scenes_have_one_camera_whatever_is_turned_chosen_or_pressed(two, tmp_path):
    found = told(plot.draw_page(two, labels=["a", "b"]), CAMERAS, tmp_path, 1280)
    assert found["turned"] == [near({"x": 1, "y": 2, "z": 0.5})] * 2
    assert found["chosen"] == [near({"x": 1, "y": 2, "z": 0.5})] * 2
    one, other = found["pressed"]
    assert one == near(other)
    assert one["x"] ** 2 + one["y"] ** 2 == pytest.approx(5)  # it went around the axis
    assert one["z"] == pytest.approx(0.5)
    assert abs(one["x"] - 1) > 0.1


@pytest.mark.parametrize("kind", ["surface", "contour"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_text_is_printed_over_another_or_beyond_the_page(two, kind, width, tmp_path):
    page = plot.draw_page(two, labels=["a", "b"], kind=kind)
    boxes = told(page, TEXTS, tmp_path, width)["boxes"]
    assert len(boxes) > 8
    for text, left, _, right, _ in boxes:
        assert left >= 0, text
        assert right <= width, text
    for i, (text, left, top, right, bottom) in enumerate(boxes):
        for other, left2, top2, right2, bottom2 in boxes[i + 1 :]:
            is_apart = right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top
            assert is_apart, (text, other)
