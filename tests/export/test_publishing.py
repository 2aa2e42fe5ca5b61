"""An artifact and its manifest are published as one, whatever happens between; the digest covers all of a folder."""

import os

import keras
import numpy as np
import pytest
from keras import layers

from kerasgen.errors import UserError
from kerasgen.export import export_model, verify
from kerasgen.export.contract.manifest import digest_of, read_manifest

# Ends its own process, as the kernel would, before the n-th rename that replaces a file or a folder.
_KILLED = """
import ctypes, os, signal, sys
import keras
from kerasgen import files
from kerasgen.export import export_model

count, after, format = 0, int(sys.argv[2]), sys.argv[3]
def dying(rename):
    def run(*arguments):
        global count
        if count == after:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        return rename(*arguments)
    return run
model = keras.models.load_model(sys.argv[4])
import kerasgen.export.publish as publish
real = publish._proven
def proven(*arguments):
    result = real(*arguments)
    files.publish = dying(files.publish)
    return result
publish._proven = proven
export_model(model, sys.argv[1], format)
"""


def network(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 1), name="image")
    return keras.Model(image, layers.Conv2D(2, 3, name="result")(image), name="net")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "saved_model"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_kill_between_the_two_leaves_the_old_one_or_the_new_one(warm, format, after, tmp_path):
    old, new = network(0), network(1)
    new.save(tmp_path / "new.keras")
    artifact = export_model(old, tmp_path / "net", format)
    before = artifact.sha256
    killed = warm.run("-c", _KILLED, tmp_path / "net", after, format, tmp_path / "new.keras")
    assert killed.returncode == -9, killed.stderr[-2000:]
    manifest = read_manifest(artifact.path)
    assert manifest["sha256"] == digest_of(artifact.path)[0]
    assert (manifest["sha256"] == before) == (after < 2)
    assert verify(artifact.path, old if after < 2 else new).passed
    # The next export works, and its manifest speaks of one artifact alone.
    export_model(new, tmp_path / "net", format)
    assert verify(artifact.path, new).passed
    assert "replaces" not in artifact.manifest.read_text()


def test_the_digest_covers_names_lengths_folders_and_links(tmp_path):
    def folder(name, **files):
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(content)
        return tmp_path / name

    one = folder("one", a="xy", b="")
    others = [folder("two", a="x", b="y"), folder("three", c="xy", b="")]
    digests = {digest_of(made)[0] for made in (one, *others)}
    assert digest_of(folder("four", a="xy", b=""))[0] == digest_of(one)[0]
    (one / "empty").mkdir()
    digests.add(digest_of(one)[0])
    os.symlink("/etc/hostname", one / "link")
    digests.add(digest_of(one)[0])
    (one / "link").unlink()
    os.symlink("/etc/passwd", one / "link")
    digests.add(digest_of(one)[0])
    assert len(digests) == 6


def test_a_link_that_is_put_into_a_folder_is_found(tmp_path):
    artifact = export_model(network(0), tmp_path / "net")
    os.symlink("/etc/hostname", artifact.path / "assets.extra" / "link")
    with pytest.raises(UserError, match="not the artifact"):
        read_manifest(artifact.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 3}', "[" * 100_000, "\0", '{"replaces": 1}'])
def test_a_damaged_manifest_is_a_sentence(text, tmp_path):
    artifact = export_model(network(0), tmp_path / "net", "onnx", inputs=np.zeros((1, 8, 8, 1)))
    artifact.manifest.write_text(text)
    with pytest.raises(UserError, match="missing or damaged"):
        read_manifest(artifact.path)
