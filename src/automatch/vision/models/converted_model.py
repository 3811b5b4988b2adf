"""dlib's face network as an ONNX model, converted once and kept in the data folder.

The name of a kept file holds the SHA-256 of the file that it was converted from, the version of the
conversion, and the SHA-256 of its own content. A file whose content has another one is damaged: it
is deleted and converted again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from typing import TYPE_CHECKING

import structlog

from automatch.vision.models.dlib_reader import read_network
from automatch.vision.models.dlib_to_onnx import onnx_model
from automatch.vision.models.model_files import FACE_RESNET, read_verified
from automatch.vision.models.onnx_model import open_session
from automatch.vision.models.registry import shipped_file

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime

CONVERSION_VERSION = 1
"""Raised with each change of what `onnx_model` returns, so that older files are not used."""

_ABANDONED_S = 3600
"""Age at which an unfinished file belongs to a process that was killed."""

log = structlog.get_logger(__name__)


def converted_folder(data_dir: Path) -> Path:
    """Return where converted models are kept."""
    return data_dir / "models" / "converted"


def open_dlib_model(
    source: Path | None = None, data_dir: Path | None = None
) -> onnxruntime.InferenceSession:
    """Return dlib's face network ready to run, from the kept file if there is a good one.

    Args:
        source: dlib's file, if not the one in its package. It is read only to be converted.
        data_dir: the data folder. Without one, or where it cannot be written, nothing is kept.

    Raises:
        ModelMissingError: dlib's file is not there.
        ModelDamagedError: dlib's file is not the one it should be.
    """
    if data_dir is None or not data_dir.is_dir():
        return open_session(_convert(source))
    folder = converted_folder(data_dir)
    prefix = f"{shipped_file(FACE_RESNET).sha256}-{CONVERSION_VERSION}."
    kept = _find_kept(folder, prefix)
    if kept is not None:
        # onnxruntime reads the file itself: bytes from here would be one copy more in memory.
        return open_session(kept)
    model = _convert(source)
    try:
        _keep(model, folder, prefix)
    except OSError as exc:
        log.warning("converted model not kept", folder=str(folder), reason=exc.strerror)
    return open_session(model)


def _convert(source: Path | None) -> bytes:
    return onnx_model(read_network(read_verified(FACE_RESNET, source)))


def _find_kept(folder: Path, prefix: str) -> Path | None:
    for path in folder.glob(f"{prefix}*.onnx"):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            continue
        if path.name == f"{prefix}{digest}.onnx":
            return path
        log.warning("converted model is damaged; converting it again", file=str(path))
    return None


def _keep(model: bytes, folder: Path, prefix: str) -> None:
    """Write the file whole or not at all, readable by this user alone, and delete older ones."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{prefix}{hashlib.sha256(model).hexdigest()}.onnx"
    partial = folder / f".{secrets.token_hex(8)}.partial"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(model)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    for path in folder.iterdir():
        if (path.suffix == ".onnx" and path != target) or (
            path.suffix == ".partial" and time.time() - path.stat().st_mtime > _ABANDONED_S
        ):
            path.unlink(missing_ok=True)
