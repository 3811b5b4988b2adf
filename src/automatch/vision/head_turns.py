"""Whether pictures of a face show it turning as asked, and not one picture turned or bent.

It makes a stranger's photo harder to use and proves nothing: docs/vision.md has what it stops and
what not.
"""

from __future__ import annotations

from io import BytesIO
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from automatch.errors.photo import ChallengeFailedError
from automatch.model.faces import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from automatch.vision.results import FaceExtraction

_MAX_FRONT_DEGREES = 20.0
"""Of the first picture. Portraits from the front measure up to 18."""
_MIN_TURN_DEGREES = 12.0
"""Against the first picture."""
_MAX_LIKENESS = 0.85
"""Of a turned face and the first picture with eyes and nose laid on one another: 0.84 for 95 % of
heads that were turned by 20 degrees, and 0.88 and more for 95 % of sheared stills."""
_SAME_PICTURE = 0.995
"""The likeness of two pictures that are one. Saved again, one gives 0.91 to 0.998, and two turns
that differ by a degree give up to 0.992: a lower bound would refuse people."""
_SIDE = 64
_EYES_AND_NOSE = np.array([(20, 24), (44, 24), (32, 38)], np.float64)
_FACE = (slice(10, 56), slice(8, 56))


def check_turns(pictures: Sequence[FaceExtraction], turns: Sequence[Turn]) -> None:
    """Check pictures of one face: the first from the front, then one for each turn, in order.

    Raises:
        ChallengeFailedError: it says what to do better.
    """
    if len(pictures) != len(turns) + 1:
        raise ChallengeFailedError
    front = pictures[0].face.yaw_degrees
    if abs(front) > _MAX_FRONT_DEGREES:
        raise ChallengeFailedError("Start by looking straight at the camera.")
    patches = [_face_patch(picture) for picture in pictures]
    for picture, patch, turn in zip(pictures[1:], patches[1:], turns, strict=True):
        # A picture is not mirrored: whoever turns to their left looks to its right.
        side = 1 if turn is Turn.LEFT else -1
        if side * (picture.face.yaw_degrees - front) < _MIN_TURN_DEGREES:
            raise ChallengeFailedError(f"Turn your head a bit more to the {turn.value}.")
        if float((patches[0] * patch).sum()) > _MAX_LIKENESS:
            raise ChallengeFailedError
    if any(float((a * b).sum()) > _SAME_PICTURE for a, b in combinations(patches, 2)):
        raise ChallengeFailedError


def _face_patch(picture: FaceExtraction) -> npt.NDArray[np.float64]:
    """Return the face with eyes and nose at fixed places, in units of its own contrast.

    Any turned, sheared or squeezed copy of one picture gives the same, unlike another view of the
    head.
    """
    points = _eyes_and_nose(picture)
    image = Image.open(BytesIO(picture.kept_jpeg)).convert("L")
    eyes = float(np.linalg.norm(points[1] - points[0]))
    shrink = max(1, int(eyes / (_EYES_AND_NOSE[1, 0] - _EYES_AND_NOSE[0, 0])))
    image, points = image.reduce(shrink), points / shrink
    places = np.hstack([_EYES_AND_NOSE, np.ones((3, 1))])
    across, down = np.linalg.solve(places, points).T
    patch = image.transform(
        (_SIDE, _SIDE),
        Image.Transform.AFFINE,
        (*across.tolist(), *down.tolist()),
        Image.Resampling.BILINEAR,
    )
    face = np.asarray(patch, np.float64)[_FACE]
    face = face - face.mean()
    unit: npt.NDArray[np.float64] = face / max(float(np.linalg.norm(face)), 1e-6)
    return unit


def _eyes_and_nose(picture: FaceExtraction) -> npt.NDArray[np.float64]:
    points = np.asarray(picture.face.landmarks, np.float64)
    if picture.detector == "dlib":
        # The corners of both eyes, that on the right of the picture first, and the nose.
        return np.array([points[2:4].mean(axis=0), points[:2].mean(axis=0), points[4]])
    return points[:3]
