"""A binary tree over latents and their attributes, grown by the gain in classification likelihood."""

import heapq
from dataclasses import dataclass
from typing import Self

import numpy as np

from kerasgen.samplers.attributes import Attributes
from kerasgen.samplers.gaussians import Moments

_QUANTILES = np.arange(1, 8) / 8
_SCREENED = 8  # latent splits whose gain is computed exactly
_JUDGES = 4000  # pictures at most that decide a split; more would decide the same


@dataclass
class Split:
    """A question to a picture; those whose answer is yes go left.

    Attributes:
        column: of the attributes, or -1 for a latent split.
        value: the attribute's code: "is it this one?"
        dimension: of z, for a latent split.
        threshold: "is z at most this?"
    """

    column: int = -1
    value: int = 0
    dimension: int = -1
    threshold: float = 0.0

    def left(self, mean: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Who goes left, by posterior means [n, latent_dim] and attribute codes [n, columns]: bool [n]."""
        if self.column >= 0:
            return codes[:, self.column] == self.value
        return mean[:, self.dimension] <= self.threshold

    def text(self, attributes: Attributes, left: bool) -> str:
        """Return the answer as a condition, such as "smiling = 1" or "z7 > 0.4"."""
        if self.column < 0:
            return f"z{self.dimension} {'≤' if left else '>'} {self.threshold:.2g}"
        name, values = attributes.names[self.column], attributes.values[self.column]
        if len(values) == 2 and not left:
            return f"{name} = {values[1 - self.value]}"
        return f"{name} {'=' if left else '≠'} {values[self.value]}"


@dataclass
class Node:
    """A part of the pictures, with the Gaussian of its latents' posterior samples.

    Attributes:
        members: which pictures.
        moments: of their latents.
        covariance: [latent_dim, latent_dim], shrunk towards the parent's.
        parent: the node above, or -1 at the root.
        split: None in a leaf.
        left, right: the nodes below.
    """

    members: np.ndarray
    moments: Moments
    covariance: np.ndarray
    parent: int = -1
    split: Split | None = None
    left: int = -1
    right: int = -1

    def divided_by(self) -> Split:
        """Return the split of a node that is not a leaf."""
        assert self.split is not None
        return self.split


class Tree:
    """Nodes in the order in which they were made: node 0 is the root, and each split adds two.

    Args:
        mean, variance: of the posteriors, [n, latent_dim].
        attributes: of the pictures.
        shrinkage: pictures' worth of the parent's covariance in a node's.
    """

    def __init__(self, mean: np.ndarray, variance: np.ndarray, attributes: Attributes, shrinkage: float):
        self.mean, self.variance, self.attributes, self.shrinkage = mean, variance, attributes, shrinkage
        moments = Moments.of(mean, variance)
        # The root has no parent: it is shrunk towards its own diagonal, which also keeps it invertible.
        diagonal = np.diagonal(moments.scatter) / len(mean)
        diagonal = np.diag(diagonal + 1e-6 * diagonal.max() + 1e-9)
        covariance = moments.shrunk(diagonal, shrinkage) + 1e-6 * diagonal
        self.nodes = [Node(np.arange(len(mean)), moments, covariance)]

    def leaves(self, splits: int | None = None) -> list[int]:
        """Return the leaves, in the order of the drawing; `splits` takes the tree as it was after so many."""
        made = len(self.nodes) if splits is None else 1 + 2 * splits
        found, waiting = [], [0]
        while waiting:
            node = waiting.pop()
            if self.nodes[node].split is None or self.nodes[node].left >= made:
                found.append(node)
            else:
                waiting += [self.nodes[node].right, self.nodes[node].left]
        return found

    def rule(self, node: int) -> str:
        """Return the conditions on the way from the root, such as "smiling = 1 and z7 ≤ 0.4"."""
        possible = [set(range(len(values))) for values in self.attributes.values]
        latent = []
        while (parent := self.nodes[node].parent) >= 0:
            split, left = self.nodes[parent].divided_by(), self.nodes[parent].left == node
            if split.column < 0:
                latent.append(split.text(self.attributes, left))
            else:
                possible[split.column] &= {split.value} if left else possible[split.column] - {split.value}
            node = parent
        named = []
        for name, values, codes in zip(self.attributes.names, self.attributes.values, possible, strict=True):
            # One value that is left says more than all that are not.
            left_out = set(range(len(values))) - codes
            if len(codes) == 1:
                named.append(f"{name} = {values[codes.pop()]}")
            else:
                named += [f"{name} ≠ {values[code]}" for code in sorted(left_out)]
        return " and ".join([*named, *reversed(latent)]) or "any picture"

    def divide(self, index: int, split: Split) -> None:
        """Give a leaf two children."""
        node = self.nodes[index]
        goes_left = split.left(self.mean[node.members], self.attributes.codes[node.members])
        node.split, node.left, node.right = split, len(self.nodes), len(self.nodes) + 1
        for members in (node.members[goes_left], node.members[~goes_left]):
            moments = Moments.of(self.mean[members], self.variance[members])
            self.nodes.append(Node(members, moments, moments.shrunk(node.covariance, self.shrinkage), index))

    def refitted(
        self, splits: int, mean: np.ndarray, variance: np.ndarray, attributes: Attributes, shrinkage: float
    ) -> Self:
        """Return the tree after so many splits, with the moments of other pictures."""
        other = type(self)(mean, variance, attributes, shrinkage)
        parents = {node.left: i for i, node in enumerate(self.nodes) if node.split is not None}
        for left in range(1, 1 + 2 * splits, 2):
            other.divide(parents[left], self.nodes[parents[left]].divided_by())
        return other

    # -- growth ---------------------------------------------------------------------------------------------

    def grow(self, max_leaves: int, min_leaf: int) -> None:
        """Split the leaf with the largest gain, until there are enough leaves or none gains anything."""
        best: list[tuple[float, int, Split]] = []
        self._consider(0, min_leaf, best)
        while best and len(self.nodes) < 2 * max_leaves - 1:
            _, index, split = heapq.heappop(best)
            self.divide(index, split)
            for child in (self.nodes[index].left, self.nodes[index].right):
                self._consider(child, min_leaf, best)

    def _consider(self, index: int, min_leaf: int, best: list) -> None:
        """Put a node's best split on the heap: attributes first, latents where no attribute divides it."""
        members = self.nodes[index].members[:_JUDGES]
        mean, variance = self.mean[members], self.variance[members]
        part = _Part(mean, variance, self.attributes.codes[members], Moments.of(mean, variance))
        for find in (self._attribute_splits, self._latent_splits):
            gains = [(self._gain(index, part, split), split) for split in find(index, part, min_leaf)]
            gain, split = max(gains, key=lambda pair: pair[0], default=(0.0, None))
            if gain > 0:
                heapq.heappush(best, (-gain, index, split))
                return

    def _attribute_splits(self, index: int, part: "_Part", min_leaf: int) -> list[Split]:
        found = []
        for column, values in enumerate(self.attributes.values):
            counts = np.bincount(part.codes[:, column], minlength=len(values))
            # "smiling = 1" and "smiling = 0" are the same question.
            asked = range(len(values)) if len(values) > 2 else range(1, len(values))
            found += [Split(column, v) for v in asked if min_leaf <= counts[v] <= len(part.codes) - min_leaf]
        return found

    def _latent_splits(self, index: int, part: "_Part", min_leaf: int) -> list[Split]:
        """Return the best thresholds, by a bound on the gain that takes whitened latents for independent."""
        node, count = self.nodes[index], len(part.mean)
        if count < 2 * min_leaf:
            return []
        whitening = np.linalg.inv(np.linalg.cholesky(node.covariance))
        white = (part.mean - node.moments.mean) @ whitening.T
        squares = white**2 + part.variance @ (whitening**2).T
        thresholds = np.quantile(part.mean, _QUANTILES, axis=0)
        totals = (count, white.sum(axis=0), squares.sum(axis=0))
        scored = []
        for dimension in range(part.mean.shape[1]):
            below = (part.mean[:, dimension, None] <= thresholds[:, dimension]).astype(np.float64)
            left = below.sum(axis=0)
            bound = _independent_gain(left, below.T @ white, below.T @ squares, *totals)
            fits = (left >= min_leaf) & (count - left >= min_leaf)
            scored += [(bound[i], dimension, thresholds[i, dimension]) for i in np.nonzero(fits)[0]]
        scored.sort(key=lambda row: -row[0])
        return [Split(dimension=d, threshold=float(t)) for _, d, t in scored[:_SCREENED]]

    def _gain(self, index: int, part: "_Part", split: Split) -> float:
        """How much likelier a split makes the node's pictures; their Gaussians as `divide` would shrink them."""
        node = self.nodes[index]
        left = split.left(part.mean, part.codes)
        # The smaller side is summed, and the other one is what is left.
        small = left if 2 * left.sum() <= len(left) else ~left
        moments = Moments.of(part.mean[small], part.variance[small])
        gain = -_score(part.moments, node.covariance, part.codes)
        for side, codes in ((moments, part.codes[small]), (part.moments.without(moments), part.codes[~small])):
            gain += _score(side, side.shrunk(node.covariance, self.shrinkage), codes)
        return gain * len(node.members) / len(part.mean)


@dataclass
class _Part:
    """Pictures of a node that judge its splits: means and variances [n, latent_dim], codes [n, columns], moments."""

    mean: np.ndarray
    variance: np.ndarray
    codes: np.ndarray
    moments: Moments


def _score(moments: Moments, covariance: np.ndarray, codes: np.ndarray) -> float:
    """Return the expected classification log-likelihood of posterior samples and attributes, up to a constant."""
    count = moments.count
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, np.linalg.solve(factor, moments.scatter).T)
    score = count * np.log(count) - count * np.log(np.diagonal(factor)).sum() - 0.5 * np.trace(white)
    for column in codes.T:
        found = np.bincount(column)
        found = found[found > 0]
        score += np.sum(found * np.log(found / count))
    return float(score)


def _independent_gain(
    left: np.ndarray, sums: np.ndarray, squares: np.ndarray, count: int, all_sum: np.ndarray, all_squares: np.ndarray
) -> np.ndarray:
    """Gain of each threshold in classification likelihood, were the whitened latents independent.

    Args:
        left: [thresholds], how many latents lie on the left.
        sums, squares: [thresholds, d], of whitened latents and of their expected squares, on the left.
        count, all_sum, all_squares: the same of both sides together.
    """
    gain = np.zeros(len(left))
    right = (count - left, all_sum - sums, all_squares - squares)
    for number, total, square in ((left, sums, squares), right):
        number = np.maximum(number, 1)
        variance = square / number[:, None] - (total / number[:, None]) ** 2
        gain += number * (np.log(number) - 0.5 * np.log(np.maximum(variance, 1e-6)).sum(axis=1))
    return gain
