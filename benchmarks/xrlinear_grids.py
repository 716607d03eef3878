"""What `xrlinear` tries for each row, ours and the rivals'; validation documents choose.

Every row has two to five points, over what its library offers: C, the width of trees, negatives, their number. The
first point is what the library, or Annif for Bonsai, takes by default.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from benchmarks.ofde import SEEDS
from raytagger.settings import EncoderSettings, TermSettings, TreeSettings

MINILM = EncoderSettings(max_tokens=64)
STATIC = EncoderSettings(kind="static", path="wordllama")  # of label texts, which help to cluster rare labels
WORDS = TermSettings(ngrams=1)
OF_THREE = (0, 3, 6)  # seeds of ensembles that have no tree in common
KEY = "nDCG@5"  # by which validation documents choose


class Row(NamedTuple):
    """Settings that are measured."""

    tree: TreeSettings = TreeSettings()
    kind: str = "auto"
    terms: TermSettings = TermSettings()
    encoder: EncoderSettings = MINILM
    seeds: tuple[int, ...] = SEEDS

    def by(self, **changes: Any) -> "Row":
        """With other settings of the tree."""
        return self._replace(tree=replace(self.tree, **changes))


@dataclass
class Choice:
    """The points of a row, each with its figure on validation documents."""

    points: list[dict[str, Any]] = field(default_factory=list)

    def add(self, settings: dict[str, Any], value: float) -> bool:
        """Whether the point is better than all before it."""
        better = all(value > point[KEY] for point in self.points)
        self.points.append({"settings": settings or "default", KEY: value})
        return better

    def told(self) -> str:
        """One line of all points."""
        return "; ".join(f"{point['settings']} {100 * point[KEY]:.2f}" for point in self.points)


def costs(row: Row, *values: float) -> tuple[Row, ...]:
    """The row with each C."""
    return tuple(row.by(cost_positive=value, cost_negative=value) for value in values)


def changed(row: Row) -> dict[str, Any]:
    """What of a row's tree is not the default."""
    usual = TreeSettings()
    return {name: value for name, value in vars(row.tree).items() if value != getattr(usual, name)}


def trees(row: Row) -> tuple[Row, ...]:
    """Three trees: C, the transform, and label texts among what clusters them."""
    three = row.by(trees=3)._replace(kind="tree", seeds=OF_THREE)
    return (*costs(three, 1.0, 0.5, 2.0), three.by(transform="l4-hinge"))


def one_tree(row: Row) -> tuple[Row, ...]:
    return costs(row.by(trees=1)._replace(kind="tree"), 1.0, 0.5)


VECTORS = Row(TreeSettings(dense_weight=0.7), terms=TermSettings(min_frequency=1))
SEEALSO = Row(terms=WORDS, encoder=STATIC)
ONE_SEED = Row(seeds=(0,))
ROWS: dict[str, dict[str, tuple[Row, ...]]] = {
    "debtags": {
        "terms": costs(Row(), 1.0, 0.5, 2.0),
        "terms, 3 trees": trees(Row())[:2],
        "terms and MiniLM": costs(VECTORS, 1.0, 0.5)[::-1],
    },
    "debian_seealso": {
        "tree": one_tree(SEEALSO),
        "3 trees": (*trees(SEEALSO), trees(SEEALSO)[0].by(embedding="pifa+text")),
    },
    "gnd_tibcore": {"tree": one_tree(ONE_SEED), "3 trees": trees(ONE_SEED)},
}

PECOS: tuple[dict[str, Any], ...] = (
    {},
    {"cost": 0.5},
    {"cost": 2.0},
    {"negatives": "tfn+man"},
    {"negatives": "tfn+man", "splits": 256},
)
RIVALS: dict[str, tuple[dict[str, Any], ...]] = {
    "Omikuji Parabel": ({}, {"linear_c": 0.5}, {"linear_c": 2.0}, {"min_branch_size": 64}),
    "Omikuji Bonsai": ({}, {"linear_c": 0.5}, {"linear_c": 2.0}, {"cluster_k": 256, "min_branch_size": 256}),
    "napkinXC PLT": (
        {},
        {"liblinear_c": 1.0},
        {"arity": 16},
        {"ensemble": 3},
        {"ensemble": 3, "loss": "l2", "liblinear_c": 1.0},
    ),
}
