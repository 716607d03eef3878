"""PECOS from our side: an environment of its own, and a process of it (`pecos_peer.py`), if it can be had."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.peers import LeftOut, Peer, environment

# Without what it names beside these: no torch, no transformers; XR-Linear and its TF-IDF need neither.
INSTALLS = (("--no-deps", "libpecos==1.2.8"), ("numpy<2", "scipy<1.14", "scikit-learn<1.6"))
LAYERS = ("BINARY_SEARCH_CHUNKED", "HASH_CHUNKED")  # its default, and the other one worth trying
PECOS = Path(__file__).with_name("pecos_peer.py")
PASSIVE = {"OMP_WAIT_POLICY": "passive"}  # its threads sleep while they wait, or they burn CPU time


def pecos_python(quick: bool) -> Path:
    """The interpreter of an environment that has libpecos.

    Raises:
        LeftOut: it cannot be had.
    """
    return environment("pecos", INSTALLS, install=not quick)


class Pecos:
    """A process of PECOS that does one thing at a time.

    Attributes:
        layers: the layer types to measure; none where PECOS cannot be had.
        left_out: why it cannot be had, by its name.
    """

    def __init__(self, quick: bool) -> None:
        self.layers, self.left_out = LAYERS, {}
        self._open = ExitStack()
        try:
            self._peer = self._open.enter_context(Peer(pecos_python(quick), PECOS, **PASSIVE))
        except LeftOut as why:
            self._peer, self.layers, self.left_out = None, (), {"PECOS": str(why)}

    @property
    def there(self) -> bool:
        return self._peer is not None

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Has a function of `pecos_peer.py` run, and gives its answer."""
        assert self._peer is not None, "PECOS cannot be had"
        return self._peer.ask({"do": do, **arguments})

    def open(self, documents: Path, model: Path) -> None:
        """Opens documents and a model of its format in each of the layer types to measure."""
        if self.there:
            self.ask("open", documents=str(documents), model=str(model))

    def __enter__(self) -> "Pecos":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def ratios(cost: dict[str, float]) -> dict[str, float]:
    """How many times ours is as fast as PECOS in its better and in its default layer type; {} without PECOS.

    Args:
        cost: seconds of `ours`, and of each layer type that was measured.
    """
    theirs = [cost[layers] for layers in LAYERS if layers in cost]
    if not theirs:
        return {}
    return {"ratio": min(theirs) / cost["ours"], "ratio_default": theirs[0] / cost["ours"]}


def shown(value: float | None, format: str) -> str:
    """A table's cell."""
    return "-" if value is None else f"{value:{format}}"
