"""`fit`: from the method's name to its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.blend import fit_blend
from raytagger.recipes.fitted import Fitted, warnings_of
from raytagger.recipes.frozen import fit_frozen
from raytagger.recipes.ofde import fit_ofde
from raytagger.recipes.xml0 import fit_xml0
from raytagger.recipes.xrlinear import fit_xrlinear
from raytagger.settings import FitRun

METHODS = {
    "blend": fit_blend,
    "frozen": fit_frozen,
    "ofde": fit_ofde,
    "xml0": fit_xml0,
    "xrlinear": fit_xrlinear,
}


def fit(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Runs the recipe of `run.method`.

    Args:
        run: what to fit.
        progress: told within stages.
        say: gets what a person wants to know meanwhile: the estimate, each evaluation, what is resumed.

    Raises:
        SettingsError: the method is unknown.
    """
    if run.method not in METHODS:
        raise SettingsError("method", got=run.method, expected=", ".join(METHODS))
    fitted = METHODS[run.method](run, progress, say)
    warnings = warnings_of(run, fitted.report)
    for line in warnings:
        say(f"warning: {line}")
    return replace(fitted, warnings=warnings)
