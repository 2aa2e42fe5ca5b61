"""Long JSON is read in pieces to what Python's own reader gives, and can be stopped between them."""

import json
import random

import pytest

from kerasgen.serve import json_text


def value(chance: random.Random, depth: int = 0) -> object:
    """Return what JSON can say, now and then longer than a piece."""
    kind = chance.choice(["number", "text", "list", "list", "object", "word"]) if depth < 4 else "number"
    count = chance.choice([0, 1, 3, 5 if depth else 3000])
    if kind == "number":
        return chance.choice([chance.randint(-(10**20), 10**20), chance.random() * 10 ** chance.randint(-300, 300)])
    if kind == "text":
        return "".join(
            chance.choice('a],[{}:" \\é\U0001f600\n')
            for _ in range(chance.choice([0, 5, 5, 20_000 if depth < 2 else 20]))
        )
    if kind == "word":
        return chance.choice([None, True, False, float("inf")])
    if kind == "list":
        same = value(chance, depth + 1)
        return [same if chance.random() < 0.9 else value(chance, depth + 2) for _ in range(count)]
    return {f"{chance.random()}": value(chance, depth + 1) for _ in range(min(count, 100))}


def outcome(read, text: bytes) -> object:
    try:
        return repr(read(text))
    except ValueError:
        return ValueError


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_is_what_json_loads_gives(seed):
    """Whole texts, spaced in three ways, and the same ones with something missing or wrong."""
    chance = random.Random(seed)
    layout = [{}, {"indent": 3}, {"separators": (" ,", ":  ")}][seed % 3]
    text = json.dumps([value(chance), value(chance), {"instances": value(chance)}], ensure_ascii=False, **layout)
    read = [text, text + " ", text[: chance.randrange(len(text))], text + "]"]
    for _ in range(8):
        at = chance.randrange(len(text))
        read.append(text[:at] + chance.choice(["", ",", "]", "[", '"', "0", "}"]) + text[at + 1 :])
    for each in read:
        content = each.encode()
        assert outcome(lambda t: json_text.loads(t, lambda: None), content) == outcome(json.loads, content)


@pytest.mark.parametrize(
    "text",
    ["", " ", "[" + " " * 40_000 + "]", "[" + " " * 40_000 + "1]", "{" + " " * 40_000 + "}", "[,]", "[1,]", '{"a":}'],
)
@pytest.mark.parametrize("around", ["", " " * 20_000])
def test_odd_texts(text, around):
    content = f"{around}{text}{around}".encode()
    assert outcome(lambda t: json_text.loads(t, lambda: None), content) == outcome(json.loads, content)


@pytest.mark.parametrize("text", [json.dumps([[[[0, 1, 2]] * 9] * 9] * 900), json.dumps({"a": [0.5] * 200_000})])
def test_reading_can_be_stopped(text):
    """The check is called at least once for every 64 kB of text, and what it raises ends the reading."""
    calls = []
    json_text.loads(text.encode(), lambda: calls.append(0))
    assert len(calls) >= len(text) / 2**16

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        json_text.loads(text.encode(), stop)


def test_lists_nested_too_deep_end_with_an_error_of_python():
    with pytest.raises(RecursionError):
        json_text.loads(b"[" * 100_000, lambda: None)
