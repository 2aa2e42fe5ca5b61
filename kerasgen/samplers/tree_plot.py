"""A picture of a decision tree, for people."""

import os

import numpy as np

from kerasgen.drawing import to_uint8
from kerasgen.files import atomic_write
from kerasgen.samplers.tree import Tree
from kerasgen.typing import Tensor


def plot_tree(path: str | os.PathLike, tree: Tree, images: Tensor) -> None:
    """Draw the tree from left to right, each leaf with its picture, its rule and its share, as PNG.

    Args:
        path: the PNG.
        tree: to draw.
        images: one for each leaf, in the order of `tree.leaves()`: [leaves, height, width, 1 or 3] in [0, 1].

    Raises:
        UserError: the path can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    leaves, images = tree.leaves(), to_uint8(images)
    places = _places(tree, leaves)
    right = max(x for x, _ in places.values())
    figure = Figure(figsize=(0.9 * right + 7, max(2, 0.62 * len(leaves))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for node, (x, y) in places.items():
        split = tree.nodes[node].split
        if split is not None:
            for child, left in ((tree.nodes[node].left, True), (tree.nodes[node].right, False)):
                to_x, to_y = places[child]
                axes.plot([x, x, to_x], [y, to_y, to_y], color="0.6", linewidth=1, zorder=0)
                axes.text(x + 0.05, to_y, split.text(tree.attributes, left), fontsize=7, va="bottom")
    for leaf, image in zip(leaves, images, strict=True):
        x, y = places[leaf]
        axes.plot([x, right + 0.6], [y, y], color="0.85", linewidth=1, zorder=0)
        zoom = 40 / max(image.shape[:2])
        axes.add_artist(AnnotationBbox(OffsetImage(image, zoom=zoom), (right + 0.9, y), frameon=False))
        share = len(tree.nodes[leaf].members) / len(tree.mean)
        axes.text(right + 1.3, y, f"{share:.1%}  {tree.rule(leaf)}", fontsize=7, va="center")
    axes.set(xlim=(-0.1, right + 6), ylim=(-len(leaves) + 0.4, 0.6))
    axes.axis("off")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)


def _places(tree: Tree, leaves: list[int]) -> dict[int, tuple[float, float]]:
    """(depth, height) of each node: leaves stand one below the other, a node halfway between its children."""
    height = {leaf: -float(row) for row, leaf in enumerate(leaves)}
    # Children were made after their parent, so that going backwards finds them first.
    for node in reversed(range(len(tree.nodes))):
        if tree.nodes[node].split is not None:
            height[node] = float(np.mean([height[tree.nodes[node].left], height[tree.nodes[node].right]]))
    depth = {0: 0.0}
    for node in range(1, len(tree.nodes)):
        depth[node] = depth[tree.nodes[node].parent] + 1
    return {node: (depth[node], height[node]) for node in depth}
