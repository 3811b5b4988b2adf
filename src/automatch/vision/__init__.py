"""SEE: bytes of a photo in, one face with its embedding out, or the reason why not."""

from automatch.vision.dlib_embedder import DlibEmbedder
from automatch.vision.embedder import Embedder
from automatch.vision.eyes import Eyes
from automatch.vision.seen import SeenPhoto

__all__ = ["DlibEmbedder", "Embedder", "Eyes", "SeenPhoto"]
