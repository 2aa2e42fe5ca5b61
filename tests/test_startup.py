"""`benchmarks/startup.py`: that it sees a mistake that ends well, and one that doesn't."""

import startup
from startup import Case, row_text, seconds

from kerasgen.cli import app


def test_what_has_an_answer_is_sound():
    row = seconds(Case(("train", "nothing", "--output", "out"), 3.0), runs=1)
    assert row["sound"]
    assert row["seconds"] > 0
    assert "nothing" in row["said"]


def test_another_end_is_said_instead_of_the_time():
    row = seconds(Case(("--version",), 1e9, 2), runs=1)
    assert not row["sound"]
    assert row_text(row).endswith("ended with 0:")
    assert row_text({**row, "sound": True}).endswith(f"{1e9:.1f}")
    assert row_text({**row, "sound": True, "target": 0}).endswith("missed")


def test_each_command_has_a_mistake():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    groups = {group.name or group.typer_instance.info.name for group in app.registered_groups}
    tried = {case.arguments[0] for case in startup.CASES}
    missing = {name.replace("_", "-") for name in commands | groups if name} - tried
    assert missing <= {"client"}  # which needs a server


def test_what_can_be_said_without_tensorflow_is(said_early):
    lines = [
        "export vae_digits --output out --format nothing",
        "export vae_digits --output out --variant nothing",
        "verify nothing --against vae_digits",
        "benchmark nothing.onnx",
        "translate face_super_resolution --input nothing --output out",
        "translate face_super_resolution --input nothing?range=0..9 --output out",
        "card nothing",
        "serve nothing",
        "compare nothing nothing",
        "quickstart --model nothing",
    ]
    said = [line for line in said_early(lines).splitlines() if line.startswith("Error: ")]
    assert len(said) == len(lines)
    assert said[0].startswith("Error: There is no export format 'nothing': choose one of onnx")
    assert "has the variant 'nothing'" in said[1]
    assert said[2].startswith("Error: nothing doesn't exist: give a path that ends with one of .onnx")
    assert said[3].startswith("Error: nothing.onnx doesn't exist")
    assert said[4] == said[5]
    assert said[5].startswith("Error: There is no folder nothing: give the folder of the pictures")
    assert said[6].startswith("Error: nothing is neither a run folder nor a preset")
    assert said[7].startswith("Error: There is no folder nothing: give the one that")
    assert said[8].startswith("Error: nothing is not a run folder")
    assert said[9].startswith("Error: There is no quickstart for 'nothing': choose one of vae")
