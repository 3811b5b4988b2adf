"""SEE: bytes of a photo in, one face with its embedding out, or the reason why not."""

from automatch.vision.analyzer import FaceAnalyzer
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.embed.embedder import Embedder
from automatch.vision.local_analyzer import LocalAnalyzer
from automatch.vision.open_analyzer import open_analyzer
from automatch.vision.remote_analyzer import RemoteAnalyzer
from automatch.vision.results import FaceExtraction, PhotoAnalysis

__all__ = [
    "DlibEmbedder",
    "Embedder",
    "FaceAnalyzer",
    "FaceExtraction",
    "LocalAnalyzer",
    "PhotoAnalysis",
    "RemoteAnalyzer",
    "open_analyzer",
]
