"""The photos of the two people of a trial: drawn, so that no real person's is needed."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image, ImageOps

from automatch.demo.avatars import draw_look
from automatch.demo.look import choose_look
from automatch.model.people import Gender

_SEED = 293
"""Of 300 drawn women one that both detectors take for a face without doubt: dlib's with a score of
1.18 (0.2 is asked), YuNet with 0.90 (0.8 is asked); tests/ops/smoke_test/test_verify.py looks."""
_OTHER_BACKGROUND = (224, 216, 246)
_QUALITY = 92


def draw_pair() -> tuple[bytes, bytes]:
    """Return two different JPEGs of 480 x 480 pixels whose faces are alike: hers and his.

    To dlib's model their similarity is above 0.99, so that they match at any sensible threshold.
    """
    look = choose_look(_SEED, Gender.FEMALE)
    other = Image.open(io.BytesIO(draw_look(replace(look, background=_OTHER_BACKGROUND))))
    mirrored = io.BytesIO()
    ImageOps.mirror(other).save(mirrored, "JPEG", quality=_QUALITY)
    return draw_look(look), mirrored.getvalue()
