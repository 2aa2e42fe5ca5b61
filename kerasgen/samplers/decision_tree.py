"""Sampling along a decision tree that is built from training pictures and their labels."""

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Self

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.samplers.attributes import Attributes, likelihood_of
from kerasgen.samplers.base import Sampler, Samples, moments_of
from kerasgen.samplers.gaussians import choose, full_log_density, kernel_log_density, log_sum_exp, spread
from kerasgen.samplers.tree import Split, Tree
from kerasgen.typing import Tensor

_DEFAULT_LEAVES = 64
_HELD_OUT = 600  # pictures at most that decide the tree's size and its leaves' density
_SCALES = np.array([0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0])
_SHARES = np.linspace(0.0, 1.0, 11)
# How far a picture's own attributes are doubted: just enough that none is impossible.
_DOUBT = 1e-3


class DecisionTreeSampler(Sampler):
    """An exact mixture whose parts are the leaves of a decision tree over labels, attributes and latents.

        p(z, a) = Σ_leaf n_leaf / n · p_leaf(z, a)
        p_leaf(z, a) = λ p_leaf(a) N(z; m_leaf, S_leaf) + (1 − λ) mean_i p_i(a) N(z; mean_i, c · var_i)

    with i over the leaf's pictures and q(z|x_i) = N(mean_i, var_i) the encoder's answer: a leaf is partly one
    Gaussian, partly the posteriors of its own pictures. S_leaf is the covariance of posterior samples (law of total
    variance), shrunk towards the parent's. The tree splits on labels and attributes first, then on latents, best
    gain in classification likelihood first; its size, λ and c have the best likelihood p(z, a) of held-out pictures.
    Evidence about some of the labels and attributes weighs each leaf by n_leaf · p_leaf(evidence), which is exact;
    the sum over a subtree divides the search path at its node.

    Fit it to the posteriors of an unconditional VAE: the latents of a conditional one don't depend on the label.

    Args:
        max_leaves: no tree is larger; None takes 64, or fewer for few latents.
        min_leaf: pictures in the smallest leaf.
        shrinkage: pictures' worth of the parent's covariance in a leaf's.
        seed: of the choice of held-out pictures.
        temperature: see `Sampler`.

    Raises:
        UserError: an argument is out of range.

    Example:
        latents = np.random.default_rng(0).standard_normal((200, 4))
        tree = DecisionTreeSampler().fit(latents, attributes={"odd": np.arange(200) % 2})
        samples = tree.sample(16, where={"odd": 1}, seed=0)  # samples.z, samples.origin
    """

    explains = True

    def __init__(
        self,
        max_leaves: int | None = None,
        min_leaf: int = 15,
        shrinkage: float = 20.0,
        seed: int = 0,
        temperature: float = 1.0,
    ):
        super().__init__(temperature)
        if max_leaves is not None:
            values.whole("max_leaves", max_leaves)
        values.whole("min_leaf", min_leaf)
        values.number("shrinkage", shrinkage, above=0)  # or a leaf can collapse to a point
        values.seed("seed", seed)
        self.max_leaves, self.min_leaf, self.shrinkage, self.seed = max_leaves, min_leaf, shrinkage, seed

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        mean, variance = moments_of(latents)
        if len(mean) < (least := max(2, self.max_leaves or 2)):
            raise UserError(
                f"{len(mean)} latents can't fill a tree of up to {least} leaves: give more pictures, or a smaller "
                "max_leaves."
            )
        table = Attributes.of(len(mean), labels, attributes)
        splits, self._share, self._scale, grown = self._chosen(mean, variance, table)
        self._tree = grown.refitted(splits, mean, variance, table, self.shrinkage)
        self._settle()
        return self

    def _chosen(self, mean: np.ndarray, variance: np.ndarray, table: Attributes) -> tuple[int, float, float, Tree]:
        """Return splits, λ and c with the best likelihood p(z, a) of held-out pictures, and the tree they grew."""
        rng = np.random.default_rng(self.seed)
        held_out, rest = np.split(rng.permutation(len(mean)), [max(1, min(len(mean) // 5, _HELD_OUT))])
        part = Attributes(table.names, table.values, table.codes[rest])
        tree = Tree(mean[rest], variance[rest], part, self.shrinkage)
        tree.grow(self.max_leaves or _DEFAULT_LEAVES, self.min_leaf)
        z = mean[held_out] + np.sqrt(variance[held_out]) * rng.standard_normal((len(held_out), mean.shape[1]))
        codes = table.codes[held_out]
        weight = _log_agreement(part, codes) - np.log(len(rest))
        kernel = kernel_log_density(z, mean[rest], _kernel_variance(mean[rest], variance[rest]), _SCALES, weight)
        best = (-np.inf, 0, 1.0, 1.0)
        with np.errstate(divide="ignore"):
            shares = np.log(_SHARES)[:, None, None], np.log(1 - _SHARES)[:, None, None]
        for splits, gaussian in enumerate(_leaf_densities(tree, z, codes)):
            likelihood = np.logaddexp(shares[0] + gaussian, shares[1] + kernel).mean(axis=-1)
            i, j = np.unravel_index(np.argmax(likelihood), likelihood.shape)
            best = max(best, (likelihood[i, j], splits, _SHARES[i], _SCALES[j]), key=lambda row: row[0])
        return int(best[1]), float(best[2]), float(best[3]), tree

    def _settle(self) -> None:
        """Set what sampling needs, from the tree."""
        tree = self._tree
        self.latent_dim = tree.mean.shape[1]
        leaves = tree.leaves()
        self._leaf_mean = np.stack([tree.nodes[i].moments.mean for i in leaves])
        self._leaf_covariance = np.stack([tree.nodes[i].covariance for i in leaves])
        self._leaf_count = np.array([len(tree.nodes[i].members) for i in leaves])
        self._leaf_of = np.empty(len(tree.mean), np.int64)
        for number, leaf in enumerate(leaves):
            self._leaf_of[tree.nodes[leaf].members] = number
        self._tables = _leaf_tables(tree, leaves)
        self._kernel_variance = _kernel_variance(tree.mean, tree.variance)
        self._rules = [tree.rule(leaf) for leaf in leaves]

    def sample(self, n: int, seed: int | None = None, where: Mapping[str, int] | None = None) -> Samples:
        """As in `Sampler`; `component` is the leaf's place in `rules()`, `origin` its rule.

        Evidence that no picture agrees with falls back, with a warning, to the deepest node on its search path.
        """
        shape = self._require_count(n, seed)
        rng = np.random.default_rng(seed)
        gaussian, member = self._weights(where, warn=True)
        part = choose(np.concatenate([gaussian, member]), n, rng)
        noise = self.temperature * rng.standard_normal(shape)
        from_leaf = part < len(gaussian)
        z = np.empty_like(noise)
        drawn = part[from_leaf]
        z[from_leaf] = self._leaf_mean[drawn] + spread(noise[from_leaf], drawn, self._leaf_covariance)
        chosen = part[~from_leaf] - len(gaussian)
        z[~from_leaf] = (
            self._tree.mean[chosen] + np.sqrt(self._kernel_variance[chosen] * self._scale) * noise[~from_leaf]
        )
        leaf = part.copy()
        leaf[~from_leaf] = self._leaf_of[chosen]
        return Samples(self, z.astype(np.float32), leaf, [self._rules[i] for i in leaf], where)

    def log_prob(self, z: Tensor, where: Mapping[str, int] | None = None) -> np.ndarray:
        z = self._checked(z)
        gaussian, member = self._weights(where)
        total = gaussian.sum() + member.sum()
        parts = []
        if gaussian.any():
            used = gaussian > 0
            covariance = self.temperature**2 * self._leaf_covariance[used]
            density = full_log_density(z, self._leaf_mean[used], covariance)
            parts.append(log_sum_exp(density + np.log(gaussian[used] / total)))
        if member.any():
            used = member > 0
            scale = np.array([self._scale * self.temperature**2])
            weight = np.log(member[used] / total)
            parts.append(kernel_log_density(z, self._tree.mean[used], self._kernel_variance[used], scale, weight)[0])
        return parts[0] if len(parts) == 1 else np.logaddexp(*parts)

    def evidence_log_prob(self, where: Mapping[str, int]) -> float:
        """log P(where), in nats, all else marginalized.

        Raises:
            UserError: a name or a value is unknown.
        """
        gaussian, member = self._joint(self._tree.attributes.evidence(where))
        return float(np.log(gaussian.sum() + member.sum()))

    def _joint(self, evidence: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """P(part, evidence) of the leaves' Gaussians and of the pictures' posteriors; they sum to P(evidence)."""
        count = len(self._leaf_of)
        gaussian = self._leaf_count / count * likelihood_of(evidence, self._tables, len(self._leaf_count))
        attributes = self._tree.attributes
        member = np.full(count, 1 / count)
        for column, code in evidence.items():
            agrees = attributes.codes[:, column] == code
            member *= (1 - _DOUBT) * agrees + _DOUBT * agrees.mean()
        return self._share * gaussian, (1 - self._share) * member

    def _weights(self, where: Mapping[str, int] | None, warn: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`_joint`, or that of the deepest node on the search path where the evidence has no support."""
        evidence = self._tree.attributes.evidence(where)
        if self._tree.attributes.matching(evidence).any():
            return self._joint(evidence)
        node = self._search(evidence)
        inside = np.isin(np.arange(len(self._leaf_of)), self._tree.nodes[node].members)
        if warn:
            warnings.warn(
                f"No picture has {self._tree.attributes.text(where)} together: sampling {self._tree.rule(node)!r}, "
                "the deepest part of the tree on the way there.",
                stacklevel=3,
            )
        gaussian, member = self._joint({})
        leaves = np.isin(np.arange(len(gaussian)), self._leaf_of[inside])
        return gaussian * leaves, member * inside

    def _search(self, evidence: dict[int, int]) -> int:
        """Return the deepest node to which the evidence alone leads."""
        node = 0
        while (split := self._tree.nodes[node].split) is not None and split.column in evidence:
            yes = evidence[split.column] == split.value
            node = self._tree.nodes[node].left if yes else self._tree.nodes[node].right
        return node

    def rules(self) -> list[str]:
        """Of each leaf, the conditions that lead to it, and its share of the pictures."""
        self._require_fit()
        shares = self._leaf_count / self._leaf_count.sum()
        return [f"{rule} ({share:.1%})" for rule, share in zip(self._rules, shares, strict=True)]

    def plot(self, path: str | os.PathLike, decode: Callable[[np.ndarray], Tensor]) -> None:
        """Draw the tree with the decoded mean picture of each leaf, as PNG.

        Args:
            path: the PNG.
            decode: from latents [leaves, latent_dim] to images [leaves, height, width, channels] in [0, 1], such as
                an unconditional `vae.decode`.

        Raises:
            UserError: the sampler is not fitted, or the path can't be written.
        """
        self._require_fit()
        from kerasgen.samplers.tree_plot import plot_tree

        plot_tree(path, self._tree, decode(self._leaf_mean.astype(np.float32)))

    def config(self) -> dict[str, object]:
        own = {"max_leaves": self.max_leaves, "min_leaf": self.min_leaf, "shrinkage": self.shrinkage}
        return {**super().config(), **own, "seed": self.seed}

    def state(self) -> dict[str, np.ndarray]:
        tree = self._tree
        splits = [(node.left, i, node.split) for i, node in enumerate(tree.nodes) if node.split is not None]
        splits.sort(key=lambda row: row[0])
        rows = [(i, s.column, s.value, s.dimension, s.threshold) for _, i, s in splits]
        return {
            **super().state(),
            **tree.attributes.state(),
            "mean": tree.mean,
            "variance": tree.variance,
            "splits": np.asarray(rows, np.float64).reshape(-1, 5),
            "leaf_density": np.asarray([self._share, self._scale]),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        attributes = Attributes.restored(state)
        self._tree = Tree(state["mean"], state["variance"], attributes, self.shrinkage)
        for index, column, value, dimension, threshold in state["splits"]:
            self._tree.divide(int(index), Split(int(column), int(value), int(dimension), float(threshold)))
        self._share, self._scale = map(float, state["leaf_density"])
        self._settle()


def _kernel_variance(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Variances of the pictures' own Gaussians: the posteriors', or by Scott's rule where there are none."""
    count, dimensions = mean.shape
    if variance.any():
        return np.maximum(variance, 1e-9)
    spread = np.maximum(mean.var(axis=0), 1e-9) * count ** (-2 / (dimensions + 4))
    return np.broadcast_to(spread, mean.shape)


def _log_agreement(attributes: Attributes, codes: np.ndarray) -> np.ndarray:
    """log p_i(a) for the attributes a of others, [others, pictures]: 0 where all agree, near it."""
    found = np.zeros((len(codes), len(attributes.codes)))
    for column, known in enumerate(attributes.values):
        own = (attributes.codes[:, column] == np.arange(len(known))[:, None]).astype(np.float64)
        frequency = (own.sum(axis=1, keepdims=True) + 1 / len(known)) / (own.shape[1] + 1)
        found += np.log((1 - _DOUBT) * own + _DOUBT * frequency)[codes[:, column]]
    return found


def _leaf_tables(tree: Tree, leaves: list[int]) -> list[np.ndarray]:
    belongs = np.zeros((len(tree.mean), len(leaves)))
    for number, leaf in enumerate(leaves):
        belongs[tree.nodes[leaf].members, number] = 1
    return tree.attributes.tables(belongs)


def _leaf_densities(tree: Tree, z: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """log Σ_leaf n_leaf / n · p_leaf(a) N(z; m_leaf, S_leaf) of the tree after 0, 1, 2 … splits: [n] each."""
    mean = np.stack([node.moments.mean for node in tree.nodes])
    covariance = np.stack([node.covariance for node in tree.nodes])
    density = full_log_density(z, mean, covariance)
    density += np.log([len(node.members) / len(tree.mean) for node in tree.nodes])
    for column, table in enumerate(_leaf_tables(tree, list(range(len(tree.nodes))))):
        density += np.log(np.maximum(table, 1e-12)).T[codes[:, column]]
    return [log_sum_exp(density[:, tree.leaves(splits)]) for splits in range(len(tree.nodes) // 2 + 1)]
