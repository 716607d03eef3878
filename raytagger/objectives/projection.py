"""The label projection: frozen label embeddings into the space of the document encoder."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from raytagger.schema import FloatArray

RIDGE = 0.01


class LabelProjection(torch.nn.Module):
    """z ↦ Wz + b, to unit length. The only thing that is trained on the label side, shared by all labels.

    Source: OF-DE section 4.2. Differs: embeddings have unit length before the projection, since the norms of some
    encoders are so unlike that the bias would decide.
    """

    def __init__(self, weight_DE: FloatArray, bias_D: FloatArray) -> None:
        super().__init__()
        # A least-squares map comes in the order of columns, in which no checkpoint keeps it.
        self.weight = torch.nn.Parameter(torch.tensor(np.ascontiguousarray(weight_DE), dtype=torch.float32))
        self.bias = torch.nn.Parameter(torch.tensor(bias_D, dtype=torch.float32))

    def forward(self, label_LE: torch.Tensor) -> torch.Tensor:
        """Float (L, D) unit rows from float (L, E) unit rows."""
        return F.normalize(F.linear(label_LE, self.weight, self.bias), dim=1)


def start_projection(label_LE: FloatArray, label_LD: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Where training starts: the identity where one encoder made both sides, else the least-squares map.

    Args:
        label_LE: frozen label embeddings, unit rows.
        label_LD: the same texts by the document encoder, unit rows; None where it is the label encoder.

    Returns:
        Weight, float32 (D, E), and bias, float32 (D,).
    """
    if label_LD is None:
        width = label_LE.shape[1]
        return np.eye(width, dtype=np.float32), np.zeros(width, np.float32)
    return least_squares(label_LE, label_LD)


def least_squares(label_LE: FloatArray, label_LD: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The affine map of `label_LE` that comes nearest to `label_LD`, with a small ridge.

    Without the ridge fewer labels than E dimensions would be met exactly, and labels beside them missed.

    Returns:
        float32 (D, E) and float32 (D,).
    """
    mean_E, mean_D = label_LE.mean(0, dtype=np.float64), label_LD.mean(0, dtype=np.float64)
    from_LE, to_LD = label_LE - mean_E, label_LD - mean_D
    gram_EE = from_LE.T @ from_LE
    ridge = RIDGE * max(float(np.trace(gram_EE)) / len(gram_EE), 1e-12)
    weight_ED = np.linalg.solve(gram_EE + ridge * np.eye(len(gram_EE)), from_LE.T @ to_LD)
    return weight_ED.T.astype(np.float32), (mean_D - mean_E @ weight_ED).astype(np.float32)
