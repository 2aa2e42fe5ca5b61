"""Runs side by side, from run folders that are written by hand."""

import re

import pytest

from kerasgen.runs import RunFolder, write_json
from tests.browser import browser


def write_run(folder, losses: list[float], learning_rate: float, health: dict | None) -> RunFolder:
    run = RunFolder(folder)
    known = {"preset": "vae_digits", "model": "VAE", "epochs": 5, "git_commit": folder.name}
    known |= {"config": {"name": folder.name, "beta": 0.6}, "data": {"source": "digits"}}
    write_json(run.config_file, known | {"recipe": {"learning_rate": learning_rate}})
    lines = ["epoch,loss,val_elbo", *(f"{i},{loss},{-loss}" for i, loss in enumerate(losses))]
    run.log_file.write_text("\n".join(lines) + "\n")
    if health is not None:
        write_json(run.health_file, health)
    return run


@pytest.fixture
def runs(tmp_path):
    reasons = [{"kind": "posterior collapse", "text": "It says <nothing>.", "grave": True}]
    sick = {"state": "sick", "summary": "Something is wrong: posterior collapse.", "reasons": reasons, "epochs": 3}
    first = write_run(tmp_path / "first", [3.0, 2.5, 2.0], 1e-3, sick)
    return [first, write_run(tmp_path / "second & last", [3.0, 1.5], 2e-3, None)]


def test_it_says_what_differs_and_what_is_better(kerasgen, runs, tmp_path):
    code, out, err = kerasgen("compare", *(run.path for run in runs), "--output", tmp_path / "page.html")
    assert code == 0, err
    assert "Something is wrong: posterior collapse." in out
    page = (tmp_path / "page.html").read_text()
    assert "It says &lt;nothing&gt;." in page
    assert "second &amp; last" in page
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert rows == [
        ("loss", "2", "<b>1.5</b>"),
        ("val elbo", "-2", "<b>-1.5</b>"),
        ("recipe.learning_rate", "0.001", "0.002"),
    ]


def test_mistakes_get_a_sentence(kerasgen, runs, tmp_path):
    for arguments, message in (
        ([runs[0].path], "1 run can't be compared: give 2 to 6"),
        ([runs[0].path, runs[0].path], "The same run is given twice"),
        ([runs[0].path, tmp_path], "is not a run folder"),
    ):
        code, _, err = kerasgen("compare", *arguments, "--output", tmp_path / "page.html")
        assert code == 2
        assert message in err
        assert not (tmp_path / "page.html").exists()


def test_only_the_known_decoders_see_a_picture(kerasgen, runs, tmp_path):
    foreign = runs[0]
    foreign.pictures.mkdir()
    (foreign.pictures / "epoch_9999.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    code, _, err = kerasgen("compare", foreign.path, runs[1].path, "--output", tmp_path / "page.html")
    assert code == 2
    assert "epoch_9999.png can't be read as a picture (it is not " in err


@pytest.mark.slow
def test_the_page_in_a_browser(runs, tmp_path):
    from kerasgen.commands.compare import compare

    compare([run.path for run in runs], tmp_path / "page.html")
    address = (tmp_path / "page.html").as_uri()
    with browser() as shown:
        for width in (1280, 390):
            shown.open(address, width)
            assert shown.run("return document.documentElement.scrollWidth") <= width
            assert shown.run("return document.querySelectorAll('polyline').length") == 4
        assert shown.complaints() == []
        assert set(shown.requests()) == {address}
