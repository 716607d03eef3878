"""What `xrlinear` tries for each row, ours and the rivals'; validation documents choose.

Every row has two to four points, over what its library offers: C, the loss or transform, negatives, trees. A
rival's first is its library's default; Bonsai's shape is what Annif recommends.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from benchmarks.ofde import SEEDS
from raytagger.settings import EncoderSettings, TermSettings, TreeSettings

MINILM = EncoderSettings(max_tokens=64)
STATIC = EncoderSettings(kind="static", path="wordllama")  # of documents and label texts
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


def three_trees(row: Row) -> tuple[Row, ...]:
    three = row.by(trees=3)._replace(kind="tree")
    dearer = three.by(cost_positive=2.0)
    return (*costs(three, 1.0, 0.5), dearer, dearer.by(transform="l4-hinge"))


def one_tree(row: Row) -> tuple[Row, ...]:
    return costs(row.by(trees=1)._replace(kind="tree"), 1.0, 0.5)


ONE_SEED = Row(seeds=(0,))  # of one matrix, in which seeds change the order of the work alone
VECTORS = ONE_SEED.by(dense_weight=0.7)._replace(terms=TermSettings(min_frequency=1))
SEEALSO = Row(terms=WORDS, seeds=OF_THREE)
ROWS: dict[str, dict[str, tuple[Row, ...]]] = {
    "debtags": {
        "terms": costs(ONE_SEED, 1.0, 0.5, 2.0),
        "terms, 3 trees": three_trees(ONE_SEED)[:2],
        "terms and MiniLM": costs(VECTORS, 0.5, 1.0),
    },
    "debian_seealso": {"tree": one_tree(SEEALSO), "3 trees": three_trees(SEEALSO)},
    "gnd_tibcore": {"tree": one_tree(ONE_SEED), "3 trees": three_trees(ONE_SEED)},
}

PECOS: tuple[dict[str, Any], ...] = ({}, {"cost": 0.5}, {"cost": 2.0}, {"negatives": "tfn+man", "splits": 256})
RIVALS: dict[str, tuple[dict[str, Any], ...]] = {
    "Omikuji Parabel": ({}, {"linear_c": 0.5}, {"linear_c": 2.0}),
    "Omikuji Bonsai": ({}, {"linear_c": 0.5}, {"linear_c": 2.0}),
    "napkinXC PLT": ({}, {"ensemble": 3}, {"ensemble": 3, "loss": "l2", "liblinear_c": 1.0}),
}
