"""Pages of one file: what they escape, how large pictures become, and where a curve's points lie."""

import base64
import hashlib
import io
import re

import numpy as np
import pytest
from PIL import Image

from kerasgen import pages

HOSTILE = '<script>alert("1")</script>\'&\udcff'


def test_every_text_is_escaped():
    page = pages.page(
        HOSTILE,
        pages.table({HOSTILE: HOSTILE}),
        pages.grid_table([HOSTILE], [[pages.text(HOSTILE)]]),
        pages.verdict_box(HOSTILE, HOSTILE, [HOSTILE]),
        pages.figure("data:,", HOSTILE),
        pages.slider({HOSTILE: "data:,"}),
        pages.curves(HOSTILE, [pages.Line(HOSTILE, [(1, 2.0)])]),
    )
    assert "alert(" in page
    assert page.count("<script>") == 1  # its own
    assert 'alert("' not in page
    page.encode("utf-8")


def test_the_policy_allows_its_own_style_and_script_alone():
    page = pages.page("Title")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("shape", [(20, 30, 3), (700, 1500, 3), (4000, 10, 3)])
def test_a_picture_fits_its_bytes(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    uri = pages.picture(noise, most_bytes=20_000)
    content = base64.b64decode(uri.partition("base64,")[2])
    assert len(content) <= 20_000
    image = Image.open(io.BytesIO(content))
    assert image.width / image.height == pytest.approx(shape[1] / shape[0], rel=0.1)
    if shape == (20, 30, 3):
        np.testing.assert_array_equal(np.asarray(image), noise)


def places(svg: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline class="a" points="([^"]*)"', svg)
    return [[tuple(map(float, point.split(","))) for point in points.split()] for points in found]


def test_points_lie_over_their_epochs():
    svg = pages.curves("loss", [pages.Line("training", [(3, 1.0), (4, 2.0), (13, 3.0)])])
    [points] = places(svg)
    ticks = {int(t): float(x) for x, t in re.findall(r'<text x="([\d.]+)" y="192" text-anchor="middle">(\d+)<', svg)}
    assert ticks.keys() == {3, 4, 6, 8, 10, 12}
    scale = (ticks[12] - ticks[4]) / 8
    assert [(x - ticks[4]) / scale + 4 for x, _ in points] == pytest.approx([3, 4, 13], abs=0.05)
    heights = [y for _, y in points]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_nan_leaves_a_gap_and_one_epoch_is_a_point():
    points = [(1, 1.0), (2, 2.0), (3, float("nan")), (4, 2.0), (5, 3.0), (6, float("inf"))]
    assert [len(piece) for piece in places(pages.curves("loss", [pages.Line("a", points)]))] == [2, 2]
    assert "<circle" in pages.curves("loss", [pages.Line("a", [(1, 5.0)])])
    assert "no finite number" in pages.curves("loss", [pages.Line("a", [(1, float("nan"))])])
