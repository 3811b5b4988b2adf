"""Opens ONNX models: the only place that knows onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path

# From 1.29 on onnxruntime keeps a device id in the user's cache and sends its maker what models are
# run on what machine. It looks at this once, while it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


def open_session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """Return a model, or the model of a file, ready to run; several threads may call `run` at once.

    Raises:
        ValueError: the model cannot be used.
    """
    options = onnxruntime.SessionOptions()
    # A second thread inside a run spins while it waits: on a machine whose other core works on
    # another photo, that makes a run slower than one thread. Photos go side by side instead.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Errors come as exceptions; whatever else it has to say would go to stderr past our log.
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        raise ValueError("onnxruntime cannot use the model") from exc
