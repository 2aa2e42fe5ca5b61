"""The rules of a verdict, each on numbers and pictures of which one knows what is wrong with them."""

import numpy as np
import pytest

from kerasgen.training.health import Answers, Comparable, Discriminator, Latent, Weight, Yardstick, judge


@pytest.fixture
def pictures(digits) -> np.ndarray:
    return digits["image"][:64]


def state(**facts) -> tuple[str, set[str]]:
    verdict = judge(**{"rows": [{"loss": 1.0}] * 4, "planned": 4, **facts})
    assert all(reason.text.endswith(".") and reason.text[0].isascii() for reason in verdict.reasons)
    return verdict.state, {reason.kind for reason in verdict.reasons}


def logs(**columns) -> list[dict[str, float]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_a_loss_that_is_not_finite_makes_it_sick():
    assert state(rows=[{"loss": 1.0}, {"loss": np.nan}], planned=20) == ("sick", {"NaN"})


def test_what_ended_a_training_makes_it_sick_in_the_first_epoch():
    assert state(rows=[], planned=20, failure="loss is nan.") == ("sick", {"the training has stopped"})


def test_before_half_of_the_epochs_only_what_cannot_mend_counts():
    signs = [Latent("kl_loss")]
    assert state(rows=logs(kl_loss=[0.1, 0.1]), planned=5, signs=signs) == ("early", {"posterior collapse"})
    assert state(rows=logs(kl_loss=[0.1, 0.1]), planned=4, signs=signs) == ("sick", {"posterior collapse"})
    assert state(rows=logs(kl_loss=[0.1, 7.0]), planned=2, signs=signs) == ("healthy", set())


@pytest.mark.parametrize(
    ("training", "validation", "expected"),
    [
        ([9, 5, 3, 2], [9, 6, 5, 5], "healthy"),
        ([9, 5, 3, 2], [9, 6, 8, 12], "sick"),
        ([9, 5, 3, 2], [9, 5, 5, 7.1], "doubtful"),
        ([9, 5, 3, 2], [9, 10, 12, 14], "sick"),
        ([9, 9.5, 10, 11], [9, 9, 10, 11], "healthy"),  # which is another illness, if any
    ],
)
def test_overfitting_is_validation_that_loses_what_training_gains(training, validation, expected):
    rows = logs(l1=map(float, training), val_l1=map(float, validation))
    assert state(rows=rows, signs=[Comparable("l1")])[0] == expected


@pytest.mark.parametrize(("psnr", "epe", "expected"), [(21, 1, "healthy"), (19, 1, "sick"), (21, 3, "sick")])
def test_it_must_beat_doing_nothing(psnr, epe, expected):
    rows = [{"val_psnr": psnr, "val_input": 20.0, "val_epe": epe, "val_identity": 2.0}] * 2
    signs = [Yardstick("psnr", "input", 1, 0.05, "dB"), Yardstick("epe", "identity", -1, 0.02, "pixels")]
    assert state(rows=rows, planned=2, signs=signs)[0] == expected


@pytest.mark.parametrize(
    ("loss", "alone", "expected"),
    [(0.2, True, "healthy"), (0.4, True, "sick"), (0.001, True, "sick"), (0.001, False, "doubtful")],
)
def test_a_discriminator_is_compared_with_one_that_sees_nothing(loss, alone, expected):
    rows = [{"discriminator": loss}] * 4
    assert state(rows=rows, signs=[Discriminator("discriminator", 0.25, alone)])[0] == expected


def test_a_loss_without_weight_is_named():
    verdict = judge([{"loss": 1.0}], 20, [Weight("lambda_cycle", 0.0, "nothing ties them")])
    assert verdict.state == "sick"
    assert verdict.reasons[0].text == "lambda_cycle is 0, so that nothing ties them."


def test_pictures_that_are_right_are_healthy(pictures):
    near = np.clip(pictures + 0.05, 0, 1)
    answers = Answers({}, near, pictures, pictures, pictures, returned=near, alike=True, label_gain=np.full(64, 5.0))
    assert state(answers=answers) == ("healthy", set())
    np.testing.assert_allclose(answers.errors, np.abs(near - pictures).mean((1, 2, 3)), rtol=1e-5)


def test_pictures_that_are_wrong_are_named(pictures):
    mean = np.broadcast_to(pictures.mean(0), pictures.shape)
    assert state(answers=Answers({}, mean, pictures, right=pictures))[1] == {"collapse", "nothing learned"}
    assert "inversion" in state(answers=Answers({}, 1 - pictures, pictures, right=pictures))[1]
    others = pictures[::-1]
    assert state(answers=Answers({}, others, pictures, right=pictures))[1] == {"nothing learned"}
    lost = Answers({}, pictures, pictures, given=pictures, returned=mean)
    assert state(answers=lost) == ("sick", {"lost content"})
    broken = np.where(pictures > 0.9, np.nan, pictures)
    assert state(answers=Answers({}, broken, pictures)) == ("sick", {"NaN"})


def test_a_negative_is_wrong_only_where_pictures_should_stay_alike(pictures):
    def of(alike: bool) -> str:
        return state(answers=Answers({}, 1 - pictures, pictures, 1 - pictures, pictures, alike=alike))[0]

    assert of(alike=True) == "sick"
    assert of(alike=False) == "healthy"
    unknown = Answers({}, 1 - pictures, pictures, given=pictures)
    assert state(answers=unknown) == ("doubtful", {"inversion"})


def test_labels_must_tell_something(pictures):
    random = np.random.default_rng(0)
    for gain in (np.zeros(64), random.normal(0, 1, 64), np.full(64, 0.1), np.full(64, -5.0)):
        found = state(answers=Answers({}, pictures, pictures, right=pictures, label_gain=gain))
        assert found == ("sick", {"labels that say nothing"})


def test_few_pictures_say_nothing_of_how_they_differ(pictures):
    assert state(answers=Answers({}, pictures[:1], pictures[:1], right=pictures[:1]))[0] == "healthy"
