"""A tree over labels: every level cuts the nodes above it into siblings, and the leaves are labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from raytagger.errors import BundleError
from raytagger.schema import IntArray

OffsetArray = npt.NDArray[np.int64]
MOST_SIBLINGS = 256  # a sibling's number has eight bits in the search's layout


@dataclass(frozen=True)
class LabelTree:
    """Levels from the root down; nodes of a level are numbered so that siblings stand side by side.

    Attributes:
        offsets: one int64 array a level, (nodes above + 1,): node c's children are the places
            `offset[c]:offset[c + 1]` of the level. The first level has one node above it, the root.
        label_P: int32 (places of the last level,), the label at each leaf.
    """

    offsets: tuple[OffsetArray, ...]
    label_P: IntArray

    def __post_init__(self) -> None:
        above = 1
        for level, offset in enumerate(self.offsets):
            if len(offset) != above + 1 or offset[0] != 0 or (np.diff(offset) < 1).any():
                raise BundleError(f"level {level} of the label tree does not cut the {above} nodes above it")
            if (widest := int(np.diff(offset).max())) > MOST_SIBLINGS:
                raise BundleError(
                    f"level {level} of the label tree has too many siblings",
                    got=widest,
                    expected=f"{MOST_SIBLINGS} at most",
                    remedy="Grow the tree with smaller leaves or fewer splits.",
                )
            above = int(offset[-1])
        if len(self.label_P) != above:
            raise BundleError("the label tree misses labels", got=len(self.label_P), expected=f"{above} leaves")
        labels, count = np.unique(self.label_P, return_counts=True)
        if (count > 1).any():
            raise BundleError("the label tree repeats a label", got=int(labels[count > 1][0]))

    @classmethod
    def flat(cls, label_L: IntArray, siblings: int = MOST_SIBLINGS) -> LabelTree:
        """Labels without a hierarchy, in blocks that are all searched: one level of blocks, one of labels.

        Raises:
            BundleError: more than 256 blocks.
        """
        bound = np.append(np.arange(0, len(label_L), siblings), len(label_L)).astype(np.int64)
        return cls((np.array([0, len(bound) - 1], np.int64), bound), np.asarray(label_L, np.int32))

    @property
    def depth(self) -> int:
        """Levels below the root."""
        return len(self.offsets)

    @cached_property
    def width(self) -> tuple[int, ...]:
        """Places of each level."""
        return tuple(int(offset[-1]) for offset in self.offsets)

    def parents(self, level: int) -> IntArray:
        """int32 (places of the level,), the node above each place."""
        offset = self.offsets[level]
        return np.repeat(np.arange(len(offset) - 1, dtype=np.int32), np.diff(offset))

    def place_L(self, labels: int) -> IntArray:
        """int32 (L,), the leaf of each label; -1 for labels that are not in the tree."""
        place_L = np.full(labels, -1, np.int32)
        place_L[self.label_P] = np.arange(len(self.label_P), dtype=np.int32)
        return place_L

    def upper(self, depth: int) -> LabelTree:
        """The tree of the first `depth` levels, whose leaves are nodes by their own numbers."""
        offsets = self.offsets[:depth]
        return LabelTree(offsets, np.arange(offsets[-1][-1], dtype=np.int32))

    def gold_by_level(self, gold: sp.csr_matrix) -> list[sp.csr_matrix]:
        """Gold labels as gold nodes, one bool CSR (N, places) a level.

        A node is gold if a label below it is. Indices are sorted.

        Args:
            gold: bool CSR (N, L); labels outside the tree are left out.
        """
        levels = [sp.csr_matrix(gold[:, self.label_P], dtype=bool)]
        levels[0].sort_indices()
        for level in range(self.depth - 1, 0, -1):
            parent_P = self.parents(level)
            up = sp.csr_matrix(
                (np.ones(len(parent_P), bool), (np.arange(len(parent_P)), parent_P)),
                shape=(len(parent_P), self.width[level - 1]),
            )
            above = sp.csr_matrix(levels[0].astype(np.int32) @ up.astype(np.int32), dtype=bool)
            above.sort_indices()
            levels.insert(0, above)
        return levels

    def save(self, folder: Path) -> None:
        """Writes `tree_labels.npy` and `tree_level<n>.npy`."""
        np.save(folder / "tree_labels.npy", self.label_P)
        for level, offset in enumerate(self.offsets):
            np.save(folder / f"tree_level{level}.npy", offset)

    @classmethod
    def load(cls, folder: Path, depth: int) -> LabelTree:
        """Reads what `save` wrote."""

        def read(name: str) -> Any:
            return np.load(folder / name, allow_pickle=False)

        return cls(tuple(read(f"tree_level{level}.npy") for level in range(depth)), read("tree_labels.npy"))
