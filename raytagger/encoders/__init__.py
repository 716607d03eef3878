"""Text to vectors: document encoders, and the frozen label encoder as a plug."""

from raytagger.encoders.encoder import Embedded, Encoder, unread
from raytagger.encoders.load import lazy_encoder, load_encoder, open_encoder, save_encoder

__all__ = ["Embedded", "Encoder", "lazy_encoder", "load_encoder", "open_encoder", "save_encoder", "unread"]
