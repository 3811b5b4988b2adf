"""Finds out which way up a photo is, for files that have lost the note about it.

Detectors find faces on their side or head too, with a lower score and with landmarks in the wrong
places, and such a face would be embedded as another person. The face scores highest upright.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from automatch.vision.detect.detector import Detection, Detector

_OTHER_TURNS = (1, 3, 2)


def find_upright(
    detector: Detector, photo: npt.NDArray[np.uint8]
) -> tuple[int, Sequence[Detection]]:
    """Return how a photo has to be rotated to be upright, and what may be a face in it then.

    The other three turns are searched only if no face scores `Detector.upright_confidence`.

    Args:
        detector: what searches.
        photo: (height, width, 3) RGB.

    Returns:
        quarter turns counter-clockwise, 0 to 3, and the detections in the rotated photo, most
        certain first.
    """
    found = [(0, detector.find(photo))]
    if _score(found[0]) < detector.min_confidence:
        found.append((0, detector.find_small(photo)))
    best = max(found, key=_score)
    if is_upright(detector, best[1]):
        return best
    quick = [found[0], *_in_other_turns(detector, detector.find, photo)]
    best = max(*quick, best, key=_score)
    if best in quick and _score(best) >= detector.min_confidence:
        return best
    return max(best, *_in_other_turns(detector, detector.find_small, photo), key=_score)


def is_upright(detector: Detector, detections: Sequence[Detection]) -> bool:
    """Return whether the most certain face proves that its photo is upright."""
    return bool(detections) and detections[0].confidence >= detector.upright_confidence


def rotated(photo: npt.NDArray[np.uint8], quarter_turns: int) -> npt.NDArray[np.uint8]:
    """Return a photo rotated counter-clockwise by *quarter_turns*."""
    return np.ascontiguousarray(np.rot90(photo, quarter_turns)) if quarter_turns else photo


def _in_other_turns(
    detector: Detector,
    search: Callable[[npt.NDArray[np.uint8]], list[Detection]],
    photo: npt.NDArray[np.uint8],
) -> list[tuple[int, list[Detection]]]:
    found = []
    for quarter_turns in _OTHER_TURNS:
        found.append((quarter_turns, search(rotated(photo, quarter_turns))))
        if is_upright(detector, found[-1][1]):
            break
    return found


def _score(found: tuple[int, Sequence[Detection]]) -> float:
    _, detections = found
    return detections[0].confidence if detections else 0.0
