"""Whether a training is healthy, in words: from its logs, and from what the model makes of a few validation pictures.

A model declares what its numbers mean (the signs below) and answers with pictures (`Answers`); nothing is guessed
from names. The limits are coarse on purpose: a verdict is about trainings that are lost, not about the last decibel.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

# Of what a picture's mean over the examples leaves open: less than this explained is nothing learned.
_LEAST_EXPLAINED = 0.05
_LEAST_RETURNED = 0.5  # the same of a way there and back, which must keep the content
_LEAST_SPREAD = 0.15  # of the real pictures' standard deviation
_OPPOSITE = -0.3  # correlation
_LEAST_NATS = 1.0  # of KL: below it, z tells an example from one and a half others
_FEW = 4  # examples, which tell nothing of how they differ
_SIGNIFICANT = 3.0  # standard errors
_LEAST_GAIN = 0.5  # nats that a label is worth; a network learns a little of labels by heart

Row = Mapping[str, float]
State = Literal["healthy", "doubtful", "sick", "early"]


@dataclass(frozen=True)
class Comparable:
    """A loss that training and validation measure alike, so that their distance is overfitting.

    Attributes:
        name: as it is logged; "val_" stands before it in validation.
    """

    name: str


@dataclass(frozen=True)
class Yardstick:
    """A validation number, and that of doing nothing, which the model must beat.

    Attributes:
        name: of the model's own number, without "val_".
        nothing: of the other, without "val_".
        sign: 1 where higher is better, -1 where lower is.
        margin: by which it must be better to count.
        unit: of both.
    """

    name: str
    nothing: str
    sign: int
    margin: float
    unit: str


@dataclass(frozen=True)
class Latent:
    """The KL divergence, in nats an example, that a latent code costs.

    Attributes:
        name: as it is logged.
    """

    name: str


@dataclass(frozen=True)
class Discriminator:
    """The loss of a discriminator.

    Attributes:
        name: as it is logged.
        chance: the loss of one that gives the same answer to everything; a trained one is below.
        alone: whether nothing but it tells the generator what its pictures should look like.
    """

    name: str
    chance: float
    alone: bool


@dataclass(frozen=True)
class Weight:
    """The weight of a loss that the model can't do without.

    Attributes:
        name: of the constructor's argument.
        value: its present value.
        otherwise: what happens at 0, as a clause.
    """

    name: str
    value: float
    otherwise: str


Sign = Comparable | Yardstick | Latent | Discriminator | Weight


@dataclass(frozen=True)
class Answers:
    """What a model makes of validation pictures; all images are [n, height, width, channels] in [0, 1].

    Attributes:
        shown: for people, by title.
        made: what the model made.
        real: pictures of the kind that `made` should look like.
        right: what each of `made` should be; None where nobody knows.
        given: what they were made from, in the size of `made`; None where the two have nothing in common.
        returned: `given` after the way there and back; None where there is no way back.
        alike: whether `made` should look like `given`.
        label_gain: [n], by how many nats another label than its own makes an example worse; None without labels.
    """

    shown: Mapping[str, np.ndarray]
    made: np.ndarray
    real: np.ndarray
    right: np.ndarray | None = None
    given: np.ndarray | None = None
    returned: np.ndarray | None = None
    alike: bool = False
    label_gain: np.ndarray | None = None

    @property
    def errors(self) -> np.ndarray:
        """Mean absolute error of each example, [n]: against what is right, else of the way there and back."""
        pairs = ((self.made, self.right), (self.returned, self.given))
        for images, truth in pairs:
            if images is not None and truth is not None:
                return np.abs(images - truth).reshape(len(images), -1).mean(-1)
        return np.zeros(len(self.made))


@dataclass(frozen=True)
class Reason:
    """Why a verdict is what it is.

    Attributes:
        kind: of the illness, in a word or two.
        text: a sentence with the numbers.
        grave: whether it makes a training sick; else it is worth a look.
        at_once: whether it counts from the first epoch on; else a training may still grow out of it.
    """

    kind: str
    text: str
    grave: bool = True
    at_once: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a training.

    Attributes:
        state: in a word.
        summary: a sentence.
        reasons: the gravest first.
    """

    state: State
    summary: str
    reasons: tuple[Reason, ...]


def judge(
    rows: Sequence[Row],
    planned: int,
    signs: Sequence[Sign] = (),
    answers: Answers | None = None,
    failure: str | None = None,
) -> Verdict:
    """Judge a training by all that it has logged and by its present answers.

    Args:
        rows: the logs of each epoch.
        planned: epochs of the whole training.
        signs: what the model's numbers mean.
        answers: of the model as it is now; None leaves out what needs pictures.
        failure: the sentence that the training was ended by; None while it is well.
    """
    reasons = [*_broken(rows, failure), *_of_signs(rows, signs)]
    if answers is not None and failure is None:
        reasons += _of_pictures(answers)
    reasons.sort(key=lambda reason: not reason.grave)
    early = len(rows) < planned / 2 and failure is None
    counted = [reason for reason in reasons if reason.at_once or not early]
    if any(reason.grave for reason in counted):
        return Verdict("sick", f"Something is wrong: {_kinds(counted, grave=True)}.", tuple(reasons))
    if early:
        return Verdict("early", f"Too early to say, after {len(rows)} of {planned} epochs.", tuple(reasons))
    if counted:
        return Verdict("doubtful", f"Worth a look: {_kinds(counted, grave=False)}.", tuple(reasons))
    return Verdict("healthy", "This training is healthy.", ())


def _kinds(reasons: Sequence[Reason], grave: bool) -> str:
    return ", ".join(dict.fromkeys(reason.kind for reason in reasons if reason.grave == grave))


def _broken(rows: Sequence[Row], failure: str | None) -> Iterator[Reason]:
    if failure is not None:
        yield Reason("the training has stopped", failure, at_once=True)
    elif rows:
        broken = [name for name, value in rows[-1].items() if not math.isfinite(value)]
        if broken:
            yield Reason("NaN", f"{', '.join(broken)}: not a finite number after epoch {len(rows)}.", at_once=True)


# -- logs ---------------------------------------------------------------------------------------------------


def _of_signs(rows: Sequence[Row], signs: Sequence[Sign]) -> Iterator[Reason]:
    for sign in signs:
        match sign:
            case Comparable():
                yield from _overfitting(_values(rows, sign.name), _values(rows, f"val_{sign.name}"), sign.name)
            case Yardstick():
                yield from _against_nothing(rows, sign)
            case Latent():
                yield from _posterior(_recent(rows, f"val_{sign.name}", sign.name))
            case Discriminator():
                yield from _discriminator(_recent(rows, sign.name), sign)
            case Weight():
                if not sign.value:
                    yield Reason("a missing loss", f"{sign.name} is 0, so that {sign.otherwise}.", at_once=True)


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if math.isfinite(row.get(name, math.nan))]


def _recent(rows: Sequence[Row], *names: str) -> float | None:
    """Return the mean of the last third of the epochs, of the first of these numbers that was logged."""
    for name in names:
        values = _values(rows, name)
        if values:
            return float(np.mean(values[-max(1, len(values) // 3) :]))
    return None


def _overfitting(training: list[float], validation: list[float], name: str) -> Iterator[Reason]:
    if len(validation) < 3 or len(training) != len(validation):
        return
    learned, best = training[0] - training[-1], int(np.argmin(validation))
    lost, gap = validation[-1] - validation[best], validation[-1] - training[-1]
    # Validation has lost most of what it had gained, while training went on to learn.
    if learned > 0 and lost > 0.25 * learned and lost > 0.5 * (validation[0] - validation[best]):
        said = f"{name} fell to {training[-1]:.3g} in training, but in validation rose from {validation[best]:.3g}"
        advice = "give it more pictures, or stop there"
        yield Reason(
            "overfitting",
            f"{said} (epoch {best + 1}) to {validation[-1]:.3g}: {advice}.",
            grave=gap > 0.75 * learned,
        )


def _against_nothing(rows: Sequence[Row], sign: Yardstick) -> Iterator[Reason]:
    own, nothing = (_values(rows, f"val_{name}") for name in (sign.name, sign.nothing))
    if own and nothing and sign.sign * (own[-1] - nothing[-1]) < sign.margin:
        yield Reason(
            "not better than doing nothing",
            f"{sign.name} is {own[-1]:.2f} {sign.unit} in validation, and {nothing[-1]:.2f} without the model: "
            "train longer; if that changes nothing, look at the learning rate, and whether each picture has the "
            "right target.",
        )


def _posterior(nats: float | None) -> Iterator[Reason]:
    if nats is not None and nats < _LEAST_NATS:
        yield Reason(
            "posterior collapse",
            f"The latent code says {nats:.2g} nats about a picture, next to nothing: "
            "try a smaller beta, KL warm-up or free bits, or a smaller learning rate.",
        )


def _discriminator(loss: float | None, sign: Discriminator) -> Iterator[Reason]:
    if loss is None:
        return
    if loss > 1.1 * sign.chance:
        yield Reason(
            "a discriminator that doesn't learn",
            f"{sign.name} is {loss:.3g}, worse than the {sign.chance:.3g} of one that tells nothing apart, so the "
            "generator is led nowhere: see that the discriminator is trained, at a learning rate that fits.",
        )
    elif loss < 0.05 * sign.chance:
        yield Reason(
            "the discriminator has won",
            f"{sign.name} is {loss:.2g}, where {sign.chance:.3g} is chance: it is hardly ever fooled, and the "
            "generator learns little from it. Try a smaller discriminator, or more pictures.",
            grave=sign.alone,
        )


# -- pictures -----------------------------------------------------------------------------------------------


def _of_pictures(answers: Answers) -> Iterator[Reason]:
    if not np.isfinite(answers.made).all():
        yield Reason("NaN", "The model's pictures hold numbers that are not finite.", at_once=True)
        return
    if len(answers.made) < _FEW:
        return
    collapsed = list(_collapse(answers))
    yield from collapsed
    yield from _content(answers)
    yield from _inversion(answers)
    if not collapsed:  # or labels could only say nothing
        yield from _labels(answers.label_gain)


def _collapse(answers: Answers) -> Iterator[Reason]:
    share = _spread(answers.made) / max(_spread(answers.real), 1e-6)
    if share < _LEAST_SPREAD:
        yield Reason(
            "collapse",
            f"The model makes nearly the same picture of everything: its pictures differ {share:.0%} as much as "
            "real ones do.",
        )


def _content(answers: Answers) -> Iterator[Reason]:
    if answers.right is not None:
        share = _explained(answers.made, answers.right)
        if share < _LEAST_EXPLAINED:
            yield Reason(
                "nothing learned",
                f"The model's pictures are not nearer to what is right than the mean of all is ({share:.0%} of the "
                "differences are explained): train longer, or look at the learning rate and the number of pictures.",
            )
    if answers.returned is not None and answers.given is not None:
        share = _explained(answers.returned, answers.given)
        if share < _LEAST_RETURNED:
            yield Reason(
                "lost content",
                f"The way there and back brings {max(share, 0):.0%} of the input's content back: a translation "
                "doesn't depend on what it is given. Look at the cycle loss, or train longer.",
            )


def _inversion(answers: Answers) -> Iterator[Reason]:
    if answers.right is not None:
        likeness = _correlation(answers.made, answers.right)
        if likeness < _OPPOSITE:
            yield Reason("inversion", f"The model's pictures are negatives of what is right ({likeness:.2f}).")
    if answers.given is None:
        return
    truth = answers.right if answers.right is not None else answers.made
    likeness = _correlation(truth, answers.given)
    if likeness < _OPPOSITE and (answers.alike or answers.right is None):
        what = "targets" if answers.right is not None else "translations"
        yield Reason(
            "inversion",
            f"The {what} are negatives of what is given (correlation {likeness:.2f}): unless you want that, look at "
            "the pairs, or at black and white of the pictures.",
            grave=answers.alike,
        )


def _labels(gain: np.ndarray | None) -> Iterator[Reason]:
    if gain is None or len(gain) < _FEW:
        return
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
    if mean < max(_SIGNIFICANT * error, _LEAST_GAIN):
        yield Reason(
            "labels that say nothing",
            f"With a wrong label an example is {mean:.2g} ± {error:.2g} nats worse, so labels tell the model "
            "nothing: see whether they belong to their pictures.",
        )


def _spread(images: np.ndarray) -> float:
    return float(np.sqrt(images.var(axis=0).mean()))


def _explained(images: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the variance between examples that is explained: 1 is perfect, 0 the mean picture."""
    total = float(((truth - truth.mean(axis=0)) ** 2).mean())
    return 1.0 - float(((images - truth) ** 2).mean()) / max(total, 1e-8)


def _correlation(images: np.ndarray, others: np.ndarray) -> float:
    a, b = (x.mean(axis=-1).ravel() - x.mean() for x in (images, others))
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-8))
