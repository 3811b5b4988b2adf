"""SEE: bytes of a photo in, one face with its embedding out, or the reason why not."""

from automatch.vision.dlib_embedder import DlibEmbedder
from automatch.vision.embedder import Embedder
from automatch.vision.eyes import Eyes
from automatch.vision.open_eyes import open_eyes
from automatch.vision.remote_eyes import RemoteEyes
from automatch.vision.seen import Look, SeenPhoto
from automatch.vision.sight import Sight

__all__ = [
    "DlibEmbedder",
    "Embedder",
    "Eyes",
    "Look",
    "RemoteEyes",
    "SeenPhoto",
    "Sight",
    "open_eyes",
]
