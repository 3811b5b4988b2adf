"""The default detector: dlib's histograms of gradients, and its five landmarks.

Most searches read the gradients of a grey picture in cells of 4 pixels where dlib's own have 8. So
they find faces of half the size, for less than half of what a picture of twice the size costs. The
scores of smaller cells are lower: dlib's own cells look again at what they find.

A photo that is searched alone has a second thread. What is found does not depend on that: each
search in small cells consists of two halves, one beside the other or one after the other.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import dlib
import numpy as np
from PIL import Image

from automatch.model.faces import overlap
from automatch.vision.detect.detector import (
    AlignedFace,
    Detection,
    resized_to,
    surest_first,
    without_known,
)
from automatch.vision.embed.embedder import CHIP_SIDE
from automatch.vision.embed.similarity_transform import SimilarityTransform, estimate_yaw
from automatch.vision.models.model_files import FIVE_LANDMARKS, verified
from automatch.vision.results import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from automatch.vision.models.registry import Landmarks

    _Half = Callable[[], list[Detection]]

_MIN_CONFIDENCE = 0.1
"""Detections with a lower score are dropped. In real photos without a face, textures, animals and
folds of cloth scored up to 0.08."""

_SMALL_FACES_SIDE = 1024
_SMALLEST = 60
"""Side in pixels of the smallest face found in the resized photo, and half of it in small cells: 54
of 54 faces were."""

_MIN_CANDIDATE = -0.6
"""Least score of a candidate in small cells. Of 422 faces that dlib's own cells find, 421 scored
more; photos of one person have no other candidate, or a few."""

_MAX_CANDIDATES = 30
"""Limits the work on a photo that is made to have candidates everywhere."""

_CONFIRMED_SIDE, _CONFIRMED_LEVELS = 88, 3
"""Side in pixels to which a candidate is resized, that of a window one level up the pyramid, and
the levels in which it is looked for."""

_CONFIRMED_MARGIN = 0.75
"""What of its surroundings is looked at, in its sides."""

_ALL_LEVELS = 1000
_STORED = (2, 1, 0, 0, 8, 0, 80, 80, _ALL_LEVELS, 64, 64)
"""What dlib's detector begins with where it is stored: two versions, an empty picture, side of a
cell, padding, window, most levels of the pyramid, smallest level. Source of the format: dlib's
`object_detector.h`, `scan_fhog_pyramid.h` and `serialize.h`."""

_OWN_CELL, _SMALL_CELL = 8, 4

_STEP = dlib.pyramid_down(6)
"""From one level of the pyramid to the next, as dlib's detector goes."""

_FIRST_LEVELS = 2
"""Levels that take half of the time of a search in small cells."""

_WINDOW = 37
"""Side of a face in small cells, in pixels of the level of the pyramid in which it is found."""

_SAME_CANDIDATE_IOU = 0.3
"""Two candidates that share more than this are of one face, on both sides of the last of these
levels."""

_UPRIGHT_CONFIDENCE = 1.0
"""Of 231 portraits, the turned ones scored up to 0.85; the upright ones scored at least 0.53, and
99 % of them 0.93."""

_CHIP_PADDING = 0.25
"""Margin around the face, as in the model's training data."""

_NOSE_DEPTH = 0.43
"""See `estimate_yaw`: the depth of the base of the nose, 0.89 times that of its tip on 246 real
faces."""


class HogDetector:
    """dlib's frontal face detector; satisfies `Detector`."""

    name = "dlib"
    landmark_set: Landmarks = "eye_corners_nose"
    upright_confidence = _UPRIGHT_CONFIDENCE

    def __init__(self, side: int, min_confidence: float, folder: Path | None = None) -> None:
        """Read the landmark model.

        Args:
            side: long side in pixels to which a photo is resized for detection.
            min_confidence: see `Detector.min_confidence`.
            folder: the folder of the model file, if not its package.

        Raises:
            ModelMissingError: the model file is not there.
            ModelDamagedError: the model file is not the one it should be.
        """
        self.min_confidence = min_confidence
        self._side = side
        self._landmarks = dlib.shape_predictor(str(verified(FIVE_LANDMARKS, folder)))
        # dlib's detector holds working memory: two threads in one detector crash the process.
        self._per_thread = threading.local()
        self._second_thread = ThreadPoolExecutor(1, thread_name_prefix="hog")
        self._searches = 0
        self._searches_lock = threading.Lock()

    def find(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find`. Most of it releases the GIL."""
        quick = self._search_fine(photo, self._side // 2)
        if quick and _are_certain(quick):
            return quick
        # Dlib's own cells find a few more, and fewer that are none; their scores tell which side
        # is up.
        own = self._search(photo)
        is_sure = bool(own) and own[0].confidence >= self.min_confidence
        return own if is_sure else quick or own

    def find_small(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find_small`. It takes about five times as long as `find`."""
        return self._search_fine(photo, _SMALL_FACES_SIDE)

    def find_all(self, photo: npt.NDArray[np.uint8], min_side: int) -> list[Detection]:
        """See `Detector.find_all`. The time it takes grows with the size of the photo."""
        side = round(max(photo.shape) * _SMALLEST / min_side)
        if side <= self._side:
            return []
        faces = self._search_fine(photo, side // 2)
        if _are_certain(faces):
            return faces
        # Of faces that are large enough for them, dlib's own cells find fewer that are none.
        least = max(photo.shape) * _SMALLEST / self._side
        kept = [face for face in faces if _are_certain([face]) or face.side < least]
        return surest_first([*kept, *without_known(self._search(photo), kept)])

    def align(self, photo: npt.NDArray[np.uint8], detection: Detection) -> AlignedFace:
        """See `Detector.align`. The landmarks are the corners of the eyes and the nose's base."""
        box = detection.box
        shape = self._landmarks(
            photo, dlib.rectangle(box.left, box.top, box.right - 1, box.bottom - 1)
        )
        points = np.array([(point.x, point.y) for point in shape.parts()])
        details = dlib.get_face_chip_details(shape, CHIP_SIDE, _CHIP_PADDING)
        center = details.rect.center()
        transform = SimilarityTransform.from_chip(
            (center.x, center.y), details.rect.width(), details.angle
        )
        return AlignedFace(
            chip=dlib.get_face_chip(photo, shape, CHIP_SIDE, _CHIP_PADDING),
            landmarks=tuple((float(x), float(y)) for x, y in points),
            yaw_degrees=estimate_yaw(
                points[2:4].mean(axis=0), points[:2].mean(axis=0), points[4], _NOSE_DEPTH
            ),
            inside=transform.share_inside(photo),
        )

    def _search_fine(self, photo: npt.NDArray[np.uint8], side: int) -> list[Detection]:
        """Search in cells of 4 pixels, and confirm what is found."""
        searched, scale = resized_to(photo, side)
        grey = np.asarray(Image.fromarray(searched).convert("L"))
        with self._halves() as both:
            small, large = both(
                partial(self._small_candidates, grey, scale),
                partial(self._large_candidates, grey, scale),
            )
            candidates = _without_overlaps(surest_first(small + large)[:_MAX_CANDIDATES])
            confirm = partial(self._confirm, photo)
            halves = both(partial(confirm, candidates[::2]), partial(confirm, candidates[1::2]))
        confirmed = [face for face in candidates if face.confidence >= _MIN_CONFIDENCE]
        faces: list[Detection] = []
        for detection in surest_first(confirmed + halves[0] + halves[1]):
            faces += without_known([detection], faces)
        return faces

    def _small_candidates(self, grey: npt.NDArray[np.uint8], scale: float) -> list[Detection]:
        """Return what may be a face in the first levels of the pyramid."""
        detector = self._detector(_SMALL_CELL, _FIRST_LEVELS)
        return _run(detector, grey, _MIN_CANDIDATE, scale)

    def _large_candidates(self, grey: npt.NDArray[np.uint8], scale: float) -> list[Detection]:
        """Return what may be a face in the other levels."""
        for _ in range(_FIRST_LEVELS):
            grey = _STEP(grey)
        detector = self._detector(_SMALL_CELL, _ALL_LEVELS)
        return _run(detector, grey, _MIN_CANDIDATE, scale, skipped=_FIRST_LEVELS)

    def _confirm(
        self, photo: npt.NDArray[np.uint8], candidates: Sequence[Detection]
    ) -> list[Detection]:
        """Return the faces that dlib's own cells find where the candidates are."""
        own = self._detector(_OWN_CELL, _CONFIRMED_LEVELS)
        confirmed = []
        for candidate in candidates:
            box, margin = candidate.box, round(_CONFIRMED_MARGIN * candidate.side)
            left, top = max(0, box.left - margin), max(0, box.top - margin)
            around = photo[top : box.bottom + margin, left : box.right + margin]
            size = round(max(around.shape) * _CONFIRMED_SIDE / candidate.side)
            picture, scale = resized_to(around, size)
            confirmed += _run(own, picture, _MIN_CONFIDENCE, scale, (left, top))
        return confirmed

    @contextmanager
    def _halves(self) -> Iterator[Callable[[_Half, _Half], tuple[list[Detection], ...]]]:
        """Yield what calls two functions at once, or in turn while other photos are searched."""
        with self._searches_lock:
            self._searches += 1
            is_alone = self._searches == 1

        def both(one: _Half, other: _Half) -> tuple[list[Detection], ...]:
            if not is_alone:
                return one(), other()
            beside = self._second_thread.submit(other)
            return one(), beside.result()

        try:
            yield both
        finally:
            with self._searches_lock:
                self._searches -= 1

    def _search(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """Search as dlib does."""
        searched, scale = resized_to(photo, self._side)
        detector = self._detector(_OWN_CELL, _ALL_LEVELS)
        return _run(detector, searched, _MIN_CONFIDENCE, scale)

    def _detector(self, cell: int, levels: int) -> Any:
        """Return dlib's detector with cells of so many pixels, for the largest *levels* only."""
        detectors = vars(self._per_thread).setdefault("detectors", {})
        if (cell, levels) not in detectors:
            detectors[cell, levels] = _changed(_stored(), cell, levels)
        return detectors[cell, levels]


@cache
def _stored() -> bytes:
    """Return dlib's detector as it is stored: making it takes a hundred times as long as a copy."""
    (stored,) = dlib.get_frontal_face_detector().__getstate__()
    return bytes(stored)


def _without_overlaps(candidates: Sequence[Detection]) -> list[Detection]:
    """Return one candidate for each face: of *candidates*, surest first, its first."""
    kept: list[Detection] = []
    for candidate in candidates:
        if all(overlap(candidate.box, other.box) <= _SAME_CANDIDATE_IOU for other in kept):
            kept.append(candidate)
    return kept


def _are_certain(faces: Sequence[Detection]) -> bool:
    return all(face.confidence >= _UPRIGHT_CONFIDENCE for face in faces)


def _run(
    detector: Any,
    picture: npt.NDArray[np.uint8],
    least: float,
    scale: float,
    corner: tuple[int, int] = (0, 0),
    *,
    skipped: int = 0,
) -> list[Detection]:
    """Return what *detector* finds in a picture of what begins at this corner of the photo.

    The *scale* is that of the level of the pyramid so many before the picture.
    """
    boxes, scores, _ = detector.run(picture, 0, least)
    if skipped:
        boxes = [_before_skipped(box, skipped) for box in boxes]
    return surest_first(
        Detection(_box(box, scale, corner), float(score))
        for box, score in zip(boxes, scores, strict=True)
    )


def _before_skipped(found: Any, skipped: int) -> Any:
    """Return dlib's rectangle where a search of all levels has it: rounding twice would move it."""
    side = min(found.width(), found.height())
    level = round(math.log(side / _WINDOW, 6 / 5))
    in_its_level = dlib.rectangle(_STEP.rect_down(dlib.drectangle(found), level))
    return _STEP.rect_up(in_its_level, level + skipped)


def _changed(stored: bytes, cell: int, levels: int) -> Any:
    begin = _as_stored(*_STORED)
    if not stored.startswith(begin):
        raise RuntimeError("this version of dlib stores its face detector in another form")
    settings = (*_STORED[:4], cell, 0, 10 * cell, 10 * cell, levels, 8 * cell, 8 * cell)
    detector = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    detector.__setstate__((_as_stored(*settings) + stored[len(begin) :],))
    return detector


def _as_stored(*numbers: int) -> bytes:
    """Return numbers as dlib stores them: each as its length and its bytes, the lowest first."""
    stored = b""
    for number in numbers:
        size = max(1, -(-number.bit_length() // 8))
        stored += bytes([size]) + number.to_bytes(size, "little")
    return stored


def _box(found: Any, scale: float, corner: tuple[int, int]) -> Box:
    """Return dlib's rectangle in pixels of the kept copy."""
    left, top = corner
    return Box(
        left=left + round(found.left() / scale),
        top=top + round(found.top() / scale),
        right=left + round((found.right() + 1) / scale),
        bottom=top + round((found.bottom() + 1) / scale),
    )
