"""The boxes of faces in a photo, and their buttons."""

from __future__ import annotations

import pytest

from automatch.model.faces import FaceBox, overlap
from automatch.web.photos.face_picker import face_buttons


def test_box_is_clipped_to_the_photo() -> None:
    assert FaceBox.of_corners(-0.05, 0.2, 0.45, 1.2) == FaceBox(0, 0.2, 0.45, 0.8)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (FaceBox(0.2, 0.2, 0.2, 0.2), 1),
        (FaceBox(0.3, 0.2, 0.2, 0.2), 1 / 3),
        (FaceBox(0.25, 0.25, 0.1, 0.1), 1 / 4),
        (FaceBox(0.4, 0.2, 0.2, 0.2), 0),
        (FaceBox(0.6, 0.6, 0.2, 0.2), 0),
        (FaceBox(0.2, 0.2, 0, 0), 0),
    ],
)
def test_overlap_is_intersection_over_union(other: FaceBox, share: float) -> None:
    box = FaceBox(0.2, 0.2, 0.2, 0.2)

    assert overlap(box, other) == pytest.approx(share)
    assert overlap(other, box) == pytest.approx(share)


def test_faces_are_numbered_from_the_left_and_keep_their_index() -> None:
    boxes = [FaceBox(0.7, 0.1, 0.2, 0.2), FaceBox(0.05, 0.3, 0.2, 0.2), FaceBox(0.4, 0, 0.1, 0.1)]
    buttons = face_buttons(boxes)

    assert [(button.index, button.label) for button in buttons] == [
        (1, "Face 1 of 3, on the left"),
        (2, "Face 2 of 3, in the middle"),
        (0, "Face 3 of 3, on the right"),
    ]
    assert (buttons[0].left, buttons[0].width) == (5.0, 20.0)


def test_photo_without_boxes_has_no_buttons() -> None:
    assert face_buttons(()) == []
