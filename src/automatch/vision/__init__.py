"""Face analysis: the bytes of a photo in; faces with embeddings out, or the reason for refusal."""

from automatch.vision.analyzer import FaceAnalyzer, LocalAnalyzer, SyncAnalyzer, open_analyzer
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.embed.embedder import Embedder
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
    "SyncAnalyzer",
    "open_analyzer",
]
