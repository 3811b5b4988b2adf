"""Why photos are refused: for each reason a drawing, a few words, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from automatch.errors.photo import (
    AnotherPersonError,
    ChallengeFailedError,
    ChallengeNeededError,
    FaceBlurredError,
    FaceCutOffError,
    FaceLowConfidenceError,
    FaceTooBrightError,
    FaceTooDarkError,
    FaceTooSmallError,
    FaceTurnedError,
    ImageBadShapeError,
    ImageDamagedError,
    ImageTimeoutError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooSmallError,
    NoFaceError,
    PhotoInReviewError,
    PhotoRefusedError,
    PhotoRejectedError,
    SeveralFacesError,
)
from automatch.web.language import gettext
from automatch.web.language import gettext_noop as _


class Mark(StrEnum):
    """What is drawn on the picture of a refused photo."""

    FACE = "face"
    """A frame around the face; the rest is shaded."""
    EDGE = "edge"
    """The edges of the photo that cut the face, too."""
    CLOSER = "closer"
    """Also how large the face should be."""
    GUIDE = "guide"
    """Where a face should be."""
    NONE = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a photo was refused."""

    icon: str
    """Name of the drawing in `templates/icons`."""
    _title: str
    _advice: str
    mark: Mark = Mark.NONE

    @property
    def title(self) -> str:
        """The reason, in words that fit on a picture."""
        return gettext(self._title)

    @property
    def advice(self) -> str:
        """What to do, in one or two sentences."""
        return gettext(self._advice)

    @property
    def sentence(self) -> str:
        """The reason and what to do, where there is no picture."""
        return f"{self.title.rstrip('?')}. {self.advice}"


_UNUSUAL = Refusal(
    "photo_file", _("Unusual file"), _("Save the photo again as a JPEG, and add that.")
)
_OTHER = Refusal("photo_no", _("Can't be used"), _("Choose another photo of yourself."))

REFUSALS = {
    NoFaceError.code: Refusal(
        "photo_no_face",
        _("No face found"),
        _("Use a photo that shows your face from the front, in good light."),
        Mark.GUIDE,
    ),
    SeveralFacesError.code: Refusal(
        "photo_several", _("More than one face"), _("Use a photo that shows only you.")
    ),
    FaceTooSmallError.code: Refusal(
        "photo_far",
        _("Too far away"),
        _("Use a photo taken closer to you. Cropping this one won't help."),
        Mark.CLOSER,
    ),
    FaceBlurredError.code: Refusal(
        "photo_blur", _("Blurry"), _("Hold the phone still, or wipe the lens."), Mark.FACE
    ),
    FaceTooDarkError.code: Refusal(
        "photo_dark", _("Too dark"), _("Turn towards a window or a lamp."), Mark.FACE
    ),
    FaceTooBrightError.code: Refusal(
        "photo_bright",
        _("Too bright"),
        _("Step out of the direct light, or switch the flash off."),
        Mark.FACE,
    ),
    FaceTurnedError.code: Refusal(
        "photo_away", _("Looking away"), _("Look straight into the camera."), Mark.FACE
    ),
    FaceCutOffError.code: Refusal(
        "photo_cut", _("Face cut off"), _("Leave some space around your face."), Mark.EDGE
    ),
    FaceLowConfidenceError.code: Refusal(
        "photo_covered",
        _("Hard to see"),
        _("Take the photo from the front, with nothing in front of your face."),
        Mark.FACE,
    ),
    ImageDamagedError.code: Refusal(
        "photo_file", _("Damaged file"), _("Save the photo again, or take a new one.")
    ),
    ImageTooLargeError.code: Refusal(
        "photo_file", _("Too large"), _("Choose a smaller version of the photo.")
    ),
    ImageTooSmallError.code: Refusal(
        "photo_far", _("Too small"), _("Choose the original, or a larger version of it.")
    ),
    ImageBadShapeError.code: Refusal(
        "photo_cut", _("Too long and narrow"), _("Crop the photo to your face and shoulders.")
    ),
    ImageTooComplexError.code: _UNUSUAL,
    ImageTimeoutError.code: _UNUSUAL,
    AnotherPersonError.code: Refusal(
        "photo_waiting",
        _("Being checked"),
        _(
            "This doesn't look like the person in your first photo. Nobody sees it until we've "
            "looked. If the first one is wrong, delete it, and we'll check this one again."
        ),
    ),
    PhotoInReviewError.code: Refusal(
        "photo_waiting",
        _("Being checked"),
        _("We'd like to look at this photo before anyone else sees it."),
    ),
    ChallengeNeededError.code: Refusal(
        "camera", _("Is it you?"), _("One more step: show with your camera that this is you.")
    ),
    ChallengeFailedError.code: Refusal(
        "camera",
        _("That didn't work"),
        _("Use your camera in good light, and turn your head as asked."),
    ),
    PhotoRefusedError.code: Refusal(
        "photo_no",
        _("Not accepted"),
        _("We looked at this photo and can't use it. Delete it and add another one of yourself."),
    ),
    PhotoRejectedError.code: _OTHER,
}
"""By the code of the error; a test finds one that is missing."""
