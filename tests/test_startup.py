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
