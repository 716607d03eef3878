"""`fit`: from the method's name to its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint

from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.fitted import Fitted, warnings_of
from raytagger.settings import FitRun

GROUP = "raytagger.recipes"
# Named, not imported: PyTorch and transformers take seconds, and linear rankers need neither.
METHODS = {
    method: EntryPoint(method, f"raytagger.recipes.{method}:fit_{method}", GROUP)
    for method in ("blend", "frozen", "ofde", "xml0", "xrlinear")
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
    fitted = METHODS[run.method].load()(run, progress, say)
    warnings = warnings_of(run, fitted.report)
    for line in warnings:
        say(f"warning: {line}")
    return replace(fitted, warnings=warnings)
