"""Recipes whose bundles other recipes build on: members of a blend, the base of XML0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raytagger.progress import Progress
from raytagger.recipes.fitted import Fitted, bank_of
from raytagger.recipes.frozen import fit_frozen
from raytagger.recipes.ofde import fit_ofde
from raytagger.recipes.xrlinear import fit_xrlinear
from raytagger.settings import FitRun
from raytagger.store import join

Recipe = Callable[[FitRun, Progress, Callable[[str], None]], Fitted]
# Each with its usual search kind.
INSIDE: dict[str, tuple[Recipe, str]] = {
    "xrlinear": (fit_xrlinear, "mean"),
    "frozen": (fit_frozen, "mean"),
    "ofde": (fit_ofde, "dense"),
}


def fit_inside(run: FitRun, method: str, progress: Progress, say: Callable[[str], None]) -> str:
    """Fits a method with a run's settings; gives the place of its bundle, within the run's.

    Label embeddings are kept in the run's own bank. What an earlier attempt has made is found by its own recipe.
    """
    recipe, kind = INSIDE[method]
    place = join(run.output.bundle, "members", method)
    own = replace(
        run,
        method=method,
        search=replace(run.search, kind=kind, threshold=None),
        labels=replace(run.labels, bank=bank_of(run)),
        output=replace(run.output, bundle=place),
    )
    fitted = recipe(own, progress, say)
    say(f"{method}: {fitted.line()}")
    return place
