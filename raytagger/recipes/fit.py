"""`fit`: from the method's name to its recipe."""

from __future__ import annotations

from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent
from raytagger.recipes.frozen import Fitted, fit_frozen
from raytagger.settings import FitRun

METHODS = {"frozen": fit_frozen}


def fit(run: FitRun, progress: Progress = silent) -> Fitted:
    """Runs the recipe of `run.method`.

    Raises:
        SettingsError: the method is unknown.
    """
    if run.method not in METHODS:
        raise SettingsError("method", got=run.method, expected=", ".join(METHODS))
    return METHODS[run.method](run, progress)
