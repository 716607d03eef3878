"""Scores → probabilities, and which of them are kept as tags."""

from raytagger.calibration.curve import Curve, fit_curve
from raytagger.calibration.gate import Line, fit_gate
from raytagger.calibration.offsets import bands, fit_hierarchy, fit_offsets
from raytagger.calibration.platt import Platt, fit_platt
from raytagger.calibration.threshold_fit import Evidence, FittedThresholds, fit_thresholds
from raytagger.calibration.thresholds import Thresholds, check_thresholds

__all__ = [
    "Curve",
    "Evidence",
    "FittedThresholds",
    "Line",
    "Platt",
    "Thresholds",
    "bands",
    "check_thresholds",
    "fit_curve",
    "fit_gate",
    "fit_hierarchy",
    "fit_offsets",
    "fit_platt",
    "fit_thresholds",
]
