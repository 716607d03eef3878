"""The label side: the bank of frozen embeddings."""

from raytagger.labels.bank import Banked, LabelBank, text_key

__all__ = ["Banked", "LabelBank", "text_key"]
