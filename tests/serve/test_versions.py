"""The folder of versions: labels, rollback, two publishers, and publishers that are killed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from kerasgen.errors import UserError
from kerasgen.export.serving import label_version, list_versions, read_config, rollback
from kerasgen.serve import Server

from .conftest import publish


@pytest.fixture
def content(tmp_path):
    """What a version may hold; its bytes don't matter here."""
    folder = tmp_path / "content"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph" * 5000)
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"weights" * 5000)
    return folder


def loaded(base, name="net"):
    (entry,) = [m for m in read_config(base).model_config_list.config if m.name == name]
    return list(entry.model_version_policy.specific.versions), dict(entry.version_labels)


def test_labels_say_what_is_loaded_and_rollback_goes_back(content, tmp_path):
    base = tmp_path / "models"
    for number in (1, 2, 3):
        assert publish(base, content, "net") == number
    assert loaded(base) == ([2, 3], {"stable": 3, "previous": 2})
    assert publish(base, content, "net", label="canary") == 4
    assert loaded(base) == ([2, 3, 4], {"stable": 3, "previous": 2, "canary": 4})
    assert [(v.number, v.labels, v.default) for v in list_versions(base)] == [
        (1, (), False),
        (2, ("previous",), False),
        (3, ("stable",), False),
        (4, ("canary",), True),
    ]
    assert rollback(base, "net") == 3
    assert loaded(base) == ([2, 3], {"stable": 3, "previous": 2})
    assert rollback(base, "net") == 2
    assert loaded(base) == ([2], {"stable": 2})
    assert rollback(base, "net") == 1
    with pytest.raises(UserError, match="no version older than 1"):
        rollback(base, "net")
    label_version(base, "net", "canary", 3)
    assert loaded(base) == ([1, 3], {"stable": 1, "canary": 3})
    assert publish(base, content, "net") == 5
    assert loaded(base) == ([1, 3, 5], {"stable": 5, "previous": 1, "canary": 3})


def test_what_was_served_without_a_configuration_stays_served(saved, tmp_path):
    """A folder that somebody filled by hand, whose models are served in their newest versions."""
    base = tmp_path / "models"
    for name, number in (("mine", 1), ("yours", 2), ("yours", 3)):
        shutil.copytree(saved[1], base / name / str(number))
    assert [(v.model, v.number, v.default) for v in list_versions(base)] == [
        ("mine", 1, True),
        ("yours", 2, False),
        ("yours", 3, True),
    ]
    publish(base, saved[2], "toy")
    with Server(base, 0, 0) as server:
        for name, newest in (("mine", 1), ("yours", 3), ("toy", 1)):
            url = f"http://127.0.0.1:{server.rest_port}/v1/models/{name}"
            with urllib.request.urlopen(url) as answer:
                states = {s["version"]: s["state"] for s in json.load(answer)["model_version_status"]}
            assert states == {str(newest): "AVAILABLE"}
    assert rollback(base, "yours") == 2
    assert loaded(base, "yours") == ([2], {"stable": 2})
    assert loaded(base, "mine") == ([], {})


def test_mistakes_are_sentences(content, tmp_path):
    base = tmp_path / "models"
    publish(base, content, "net")
    with pytest.raises(UserError, match="no version is ever replaced"):
        publish(base, content, "net", number=1)
    with pytest.raises(UserError, match="no version 7: choose one of 1"):
        label_version(base, "net", "canary", 7)
    with pytest.raises(UserError, match="'a/b' can't be part of a URL"):
        label_version(base, "net", "a/b", 1)
    with pytest.raises(UserError, match="There is no model 'other'"):
        rollback(base, "other")
    (base / "models.config").write_text("what?")
    with pytest.raises(UserError, match="is not a model configuration"):
        list_versions(base)


def test_two_publishers_of_one_version_cant_both_win(content, tmp_path):
    base, meet, results = tmp_path / "models", threading.Barrier(2), []

    def run():
        from kerasgen.export.serving.versions import new_version

        try:
            with new_version(base, "net", 1, "stable") as (temporary, _):
                meet.wait()  # both are sure by now that the number is free
                (temporary / "model.saved_model").mkdir()
                (temporary / "model.saved_model" / "saved_model.pb").write_text("x")
            results.append("won")
        except UserError as error:
            results.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost, won = sorted(results)
    assert won == "won"
    assert "published by another meanwhile" in lost
    assert [p.name for p in (base / "net").iterdir()] == ["1"]


PUBLISHER = """
import shutil, sys
from pathlib import Path
from kerasgen.export.serving.versions import new_version
print("ready", flush=True)
for _ in range(1000):
    with new_version(Path(sys.argv[1]), "net", None, "stable") as (temporary, _):
        shutil.copytree(sys.argv[2], temporary / "model.saved_model")
"""


@pytest.mark.slow
def test_a_publisher_killed_at_20_moments_breaks_nothing(content, tmp_path):
    base, moments = tmp_path / "models", random.Random(0)
    whole = sorted(p.relative_to(content) for p in content.rglob("*"))
    publish(base, content, "net")
    interrupted = 0
    for _ in range(20):
        command = [sys.executable, "-c", PUBLISHER, base, content]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        interrupted += bool(list((base / "net").glob(".kerasgen-tmp-*/*")))
        for number in loaded(base)[0]:
            version = base / "net" / str(number)
            assert sorted(p.relative_to(version) for p in version.rglob("*")) == whole
            for file in whole:
                assert (version / file).is_dir() or (version / file).read_bytes() == (content / file).read_bytes()
        highest = max(v.number for v in list_versions(base))
        assert publish(base, content, "net") == highest + 1
    assert interrupted >= 5  # otherwise the moments were no moments of publishing
    assert not list((base / "net").glob(".*"))
