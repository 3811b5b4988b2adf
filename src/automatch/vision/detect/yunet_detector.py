"""YuNet, a small convolutional detector with five landmarks of its own, run by onnxruntime.

Its file is not part of Auto-Match; `VISION__YUNET_FILE` names it. For every cell of three grids
over the picture, the model gives two scores, a box and the landmarks. Source of the arithmetic:
OpenCV's `modules/objdetect/src/face_detect.cpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.embedder import ModelDamagedError
from automatch.vision.detect.detector import AlignedFace, Detection, resized_to
from automatch.vision.embed.similarity_transform import SimilarityTransform, estimate_yaw
from automatch.vision.models.model_files import YUNET, read_verified
from automatch.vision.models.onnx_model import open_session, with_shapes
from automatch.vision.results import Box

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from automatch.vision.models.registry import Landmarks

_STRIDES = (8, 16, 32)
"""Pixels from cell to cell of the three grids."""

_PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""What each cell gives, and how many numbers: two scores, a box, five points."""

_SHAPES: dict[str, tuple[int | str, ...]] = {
    "input": (1, 3, "height", "width"),
    **{
        f"{part}_{stride}": (1, f"cells_{stride}", numbers)
        for stride in _STRIDES
        for part, numbers in _PARTS.items()
    },
}

_FIRST_PASS_SIDE = 320
_LARGE_FACE = 1 / 8
"""Where the largest face takes a smaller share of the long side, the first pass begins to miss
faces of half its size, and a second pass at the full side follows."""

_MIN_CONFIDENCE = 0.6
"""Detections with a lower score are dropped; paintings and cloth scored up to 0.59 in a first
pass."""

_MAX_CANDIDATES = 200
"""Limits the work on a photo that is made to have detections everywhere: it grows with the
square."""

_SMALLEST = 24
"""Side in pixels of the smallest face found in the resized photo: 54 of 54 faces were."""

_UPRIGHT_CONFIDENCE = 0.925
"""Of 231 portraits, the turned ones scored up to 0.91; the upright ones scored at least 0.92, and
99 % of them 0.93. The landmarks prove nothing: on turned faces they have the order of upright
ones."""

_SAME_FACE_IOU = 0.3
_LARGEST = 5.0
"""Logarithm of the largest side of a box in cells: 148 are more than any resized photo has."""

_NOSE_DEPTH = 0.48
"""See `estimate_yaw`: of the tip of the nose; eyes 62 mm apart and a tip 30 mm before them."""

# Eyes, tip of the nose and corners of the mouth as they lie in the chips that dlib cuts from real
# portraits, the mean of 231. Chips cut by them give embeddings 0.10 from dlib's own (95 %: 0.14),
# where two photos of one person are 0.27 apart: see benchmarks/yunet_template.py.
_TEMPLATE = np.array(
    [(45.10, 44.43), (102.61, 44.07), (74.23, 77.27), (48.39, 100.10), (100.06, 100.19)]
)


class YunetDetector:
    """YuNet; satisfies `Detector`. Five times as fast as HOG, and finds turned faces too."""

    name = "yunet"
    landmark_set: Landmarks = "eyes_nose_mouth"
    upright_confidence = _UPRIGHT_CONFIDENCE

    def __init__(self, file: Path, side: int, min_confidence: float) -> None:
        """Read the model.

        Args:
            file: the model, `face_detection_yunet_2023mar.onnx`.
            side: long side in pixels of the second pass, which follows when the first one at
                320 pixels finds no face or only small ones.
            min_confidence: see `Detector.min_confidence`; scores go from 0 to 1.

        Raises:
            ModelMissingError: the model file is not there.
            ModelDamagedError: the model file is not the one it should be.
        """
        self.min_confidence = min_confidence
        self._side = side
        try:
            self._session = open_session(with_shapes(read_verified(YUNET, file), _SHAPES))
        except ValueError as exc:
            raise ModelDamagedError(file) from exc

    def find(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find`. It releases the GIL."""
        found = self._search(photo, _FIRST_PASS_SIDE)
        sides = [face.side for face in found if face.confidence >= self.min_confidence]
        if sides and max(sides) >= _LARGE_FACE * max(photo.shape):
            return found
        return self._search(photo, self._side) or found

    def find_small(self, _photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find_small`. `find` has a pass at full side of its own."""
        return []

    def find_all(self, photo: npt.NDArray[np.uint8], min_side: int) -> list[Detection]:
        """See `Detector.find_all`."""
        side = min(self._side, round(max(photo.shape) * _SMALLEST / min_side))
        return self._search(photo, side) if side > _FIRST_PASS_SIDE else []

    def align(self, photo: npt.NDArray[np.uint8], detection: Detection) -> AlignedFace:
        """See `Detector.align`. The landmarks are the eyes, the nose's tip, the mouth's corners."""
        left_eye, right_eye, nose, *_ = detection.landmarks
        transform = SimilarityTransform.from_landmarks(detection.landmarks, _TEMPLATE)
        return AlignedFace(
            chip=transform.crop(photo),
            landmarks=detection.landmarks,
            yaw_degrees=estimate_yaw(left_eye, right_eye, nose, _NOSE_DEPTH),
            inside=transform.share_inside(photo),
        )

    def _search(self, photo: npt.NDArray[np.uint8], side: int) -> list[Detection]:
        searched, scale = resized_to(photo, side)
        height, width = searched.shape[:2]
        # The grids need whole cells, so the picture is padded with black.
        canvas = np.zeros((1, 3, _round_up(height), _round_up(width)), np.float32)
        # The model was trained on BGR from 0 to 255.
        canvas[0, :, :height, :width] = searched[:, :, ::-1].transpose(2, 0, 1)
        names = [name for name in _SHAPES if name != "input"]
        outputs = dict(zip(names, self._session.run(names, {"input": canvas}), strict=True))
        columns = canvas.shape[3]
        grids = [_candidates(outputs, stride, columns // stride) for stride in _STRIDES]
        scores, boxes, points = (np.concatenate(parts) for parts in zip(*grids, strict=True))
        return [
            Detection(
                Box(*(round(float(edge)) for edge in boxes[at] / scale)),
                float(scores[at]),
                tuple((float(x), float(y)) for x, y in points[at] / scale),
            )
            for at in _suppress_overlaps(scores, boxes)
        ]


def _round_up(length: int) -> int:
    return -(-length // _STRIDES[-1]) * _STRIDES[-1]


def _candidates(
    outputs: dict[str, npt.NDArray[np.float32]], stride: int, columns: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return scores (n), boxes (n, 4: left, top, right, bottom) and points (n, 5, 2) of a grid."""
    parts = {part: outputs[f"{part}_{stride}"][0] for part in _PARTS}
    score = np.sqrt(np.clip(parts["cls"][:, 0], 0, 1) * np.clip(parts["obj"][:, 0], 0, 1))
    cells = np.flatnonzero(score >= _MIN_CONFIDENCE)
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    box = parts["bbox"][cells]
    middle, half = (
        (corner + box[:, :2]) * stride,
        np.exp(np.minimum(box[:, 2:], _LARGEST)) * (stride / 2),
    )
    points = (parts["kps"][cells].reshape(-1, 5, 2) + corner[:, None]) * stride
    return score[cells], np.concatenate([middle - half, middle + half], axis=1), points


def _suppress_overlaps(
    scores: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32]
) -> list[int]:
    """Return which candidates to keep, highest score first: one for each face."""
    order = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[_iou(boxes[best], boxes[order]) <= _SAME_FACE_IOU]
    return kept


def _iou(box: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the intersection over union of *box* and each of the others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2])
    together = area + np.prod(others[:, 2:] - others[:, :2], axis=1) - shared
    ratio: npt.NDArray[np.float32] = shared / np.maximum(together, 1e-6)
    return ratio
