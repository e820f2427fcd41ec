"""Texts as one tree of tokens, in which a beginning that several share stands once.

A causal model gives a token the same activations whatever follows it, so what texts share from
their first token on has to be run once. The tree's tokens are run as one row: each at the place
that it has in its text, and each sees those before it in its own texts and no others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Tree(NamedTuple):
    """Distinct beginnings of texts, each by its last token.

    Attributes
    ----------
    ids : list of N int
        The token of each.
    depths : list of N int
        The tokens before it.
    parents : list of N int
        The number of the beginning without its last token, or −1; below its own number.
    paths : list of lists of int
        Each text's beginnings, from its first token to the whole.
    """

    ids: list[int]
    depths: list[int]
    parents: list[int]
    paths: list[list[int]]


def grow(sequences: Sequence[Sequence[int]]) -> Tree:
    """Return the tree of some texts' token ids."""
    tree, known = Tree([], [], [], []), {}
    for sequence in sequences:
        path, parent = [], -1
        for depth, token in enumerate(sequence):
            node = known.setdefault((parent, token), len(tree.ids))
            if node == len(tree.ids):
                tree.ids.append(token)
                tree.depths.append(depth)
                tree.parents.append(parent)
            path.append(node)
            parent = node
        tree.paths.append(path)
    return tree


def visible(parents: Sequence[int]) -> np.ndarray:
    """Return whether a beginning's last token sees another's: (N, N) bool, by row."""
    seen = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] |= seen[parent]
    return seen


def tree_batches(
    sequences: Sequence[Sequence[int]], size: int, limit: int
) -> tuple[list[list[int]], list[int]]:
    """Return rows to run as one tree each, and how many tokens each of the trees has.

    Parameters
    ----------
    sequences : sequence of token ids
    size : int
        Texts per tree.
    limit : int
        Tokens per tree; a text that is longer stands alone.
    """
    found, counts, before = [], [], []
    for row in sorted(range(len(sequences)), key=sequences.__getitem__):
        tokens = list(sequences[row])
        new = len(tokens) - _alike(before, tokens)
        if not found or len(found[-1]) == size or counts[-1] + new > limit:
            found.append([])
            counts.append(0)
            new = len(tokens)
        found[-1].append(row)
        counts[-1] += new
        before = tokens
    return found, counts


def _alike(one: list[int], other: list[int]) -> int:
    """Return how many tokens two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
