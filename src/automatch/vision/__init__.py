"""Face analysis: the bytes of a photo in; faces with embeddings out, or the reason for refusal."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automatch.vision.analyzer import FaceAnalyzer, LocalAnalyzer, SyncAnalyzer, open_analyzer
    from automatch.vision.embed.dlib_embedder import DlibEmbedder
    from automatch.vision.embed.embedder import Embedder
    from automatch.vision.remote_analyzer import RemoteAnalyzer
    from automatch.vision.results import FaceExtraction, PhotoAnalysis

_MODULES = {
    "DlibEmbedder": "embed.dlib_embedder",
    "Embedder": "embed.embedder",
    "FaceAnalyzer": "analyzer",
    "FaceExtraction": "results",
    "LocalAnalyzer": "analyzer",
    "PhotoAnalysis": "results",
    "RemoteAnalyzer": "remote_analyzer",
    "SyncAnalyzer": "analyzer",
    "open_analyzer": "analyzer",
}
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


def __getattr__(name: str) -> object:
    """Import a name when it is used: the registry of models needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
