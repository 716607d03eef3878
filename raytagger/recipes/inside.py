"""Recipes whose bundles other recipes build on: members of a blend, the base of XML0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raytagger.progress import Progress
from raytagger.recipes.fit import run_recipe
from raytagger.recipes.fitted import Fitted, bank_of, index_warnings
from raytagger.settings import FitRun, ThresholdSettings
from raytagger.store import join

INSIDE = {"xrlinear": "mean", "frozen": "mean", "ofde": "dense"}  # each with its usual search kind


def fit_inside(run: FitRun, method: str, progress: Progress, say: Callable[[str], None]) -> Fitted:
    """Fits a method with a run's settings; its bundle lies within the run's.

    Label embeddings are kept in the run's own bank. What an earlier attempt has made is found by its own recipe.
    """
    place = join(run.output.bundle, "members", method)
    own = replace(
        run,
        method=method,
        search=replace(run.search, kind=INSIDE[method], threshold=None),
        threshold=ThresholdSettings(mode="count"),  # nobody keeps tags by it
        labels=replace(run.labels, bank=bank_of(run)),
        output=replace(run.output, bundle=place),
    )
    fitted = run_recipe(own, progress, say)
    for line in index_warnings(own, fitted):  # all others are those of the run around it
        say(f"warning: {method}: {line}")
    say(f"{method}: {fitted.line()}")
    return fitted
