"""Classes by the names of their folders."""

import numpy as np
import pytest

from kerasgen.commands.generate import Generated, class_of, with_class_names
from kerasgen.errors import UserError

NAMES = ("cats", "dogs", "7")


def test_a_class_is_called_by_name_or_number():
    assert [class_of(text, NAMES) for text in ("cats", "dogs", "1", "7", "12")] == [0, 1, 1, 2, 12]
    with pytest.raises(UserError, match="No class is called 'cat': give one of cats, dogs, 7"):
        class_of("cat", NAMES)
    with pytest.raises(UserError, match="its number, because the run's data names no classes"):
        class_of("cats", ())
    with pytest.raises(UserError, match="--label is -1"):
        class_of("-1", NAMES)


def test_rules_say_the_names():
    rules = ["label = 1 and z7 ≤ 0.4", "label ≠ 0 and label ≠ 12", "any picture"]
    generated = Generated(*[np.zeros(3)] * 4, rules, None)
    named = with_class_names(generated, NAMES).origin
    assert named == ["label = dogs and z7 ≤ 0.4", "label ≠ cats and label ≠ 12", "any picture"]
