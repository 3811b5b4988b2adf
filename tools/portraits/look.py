"""What one simulated person looks like, chosen from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from automatch.demo.population import TRAITS, Ranks
from automatch.model.people import Gender
from tools.portraits import hair as hair_styles
from tools.portraits.head import Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.portraits.canvas import Colour
    from tools.portraits.hair import HairStyle

Outfit = Literal["tee", "shirt", "hoodie", "vneck", "turtleneck"]
Eyes = Literal["dot", "open", "happy"]
Mouth = Literal["smile", "grin", "small", "wry"]
Beard = Literal["full", "stubble", "chin"]
Glasses = Literal["round", "square"]

_T = TypeVar("_T")

_SKINS: tuple[Colour, ...] = (
    (255, 224, 196),
    (248, 211, 178),
    (241, 198, 160),
    (230, 182, 140),
    (214, 160, 116),
    (190, 134, 92),
    (156, 104, 70),
    (122, 80, 54),
    (92, 60, 44),
)
_SKIN_SHARES = (0.1, 0.15, 0.18, 0.17, 0.13, 0.1, 0.08, 0.06, 0.03)
_LIGHT_TONES, _DEEP_FROM = 4, 6
_HALF_WIDTHS, _HALF_HEIGHTS = (72.0, 81.0), (90.0, 99.0)
_NARROWER_WOMAN = 3
_ANY = (0.0, 1.0)
_AROUND = 0.1
"""Half the interval that stands for a rank which a drawing has exactly."""
_OUTFITS_UNDER_LONG_HAIR: tuple[Outfit, ...] = ("tee", "shirt", "vneck", "turtleneck")
_OUTFITS: tuple[Outfit, ...] = (*_OUTFITS_UNDER_LONG_HAIR, "hoodie")
_EYES: tuple[Eyes, ...] = ("dot", "dot", "open", "open", "happy")
_EYES_ON_DEEP_SKIN: tuple[Eyes, ...] = ("open", "open", "open", "happy")
_MOUTHS: tuple[Mouth, ...] = ("smile", "smile", "grin", "small", "wry")
_BEARDS: tuple[Beard, ...] = ("full", "stubble", "stubble", "chin")
_GLASSES: tuple[Glasses, ...] = ("round", "square")
_BROWN: Colour = (52, 36, 32)
_LIGHT_IRISES: tuple[Colour, ...] = ((70, 96, 128), (84, 106, 72))
_DARK_HAIR: tuple[Colour, ...] = (
    (34, 28, 34),
    (48, 34, 32),
    (66, 44, 36),
    (40, 36, 48),
)
_LIGHT_HAIR: tuple[Colour, ...] = (
    (112, 70, 42),
    (156, 88, 48),
    (206, 158, 92),
    (178, 68, 44),
)
_DYED_HAIR: tuple[Colour, ...] = (
    (98, 84, 150),
    (60, 104, 140),
    (176, 92, 120),
    (150, 150, 160),
)
_BACKGROUNDS: tuple[Colour, ...] = (
    (255, 221, 210),
    (254, 232, 184),
    (218, 238, 206),
    (200, 233, 230),
    (205, 224, 248),
    (224, 216, 246),
    (248, 214, 230),
    (232, 226, 214),
)
_CLOTHES: tuple[Colour, ...] = (
    (58, 86, 140),
    (196, 78, 74),
    (64, 132, 116),
    (240, 178, 72),
    (120, 92, 160),
    (238, 238, 232),
    (62, 66, 80),
    (226, 136, 120),
    (94, 152, 196),
    (150, 170, 110),
    (212, 190, 160),
    (182, 96, 134),
)
_FRAMES: tuple[Colour, ...] = (
    (44, 40, 48),
    (122, 76, 46),
    (150, 60, 60),
    (170, 138, 80),
)


@dataclass(frozen=True)
class Look:
    """Everything that is drawn."""

    woman: bool
    head: Head
    deep: bool
    """Dark skin, on which lips are drawn brighter than the skin."""
    style: HairStyle
    background: Colour
    clothes: Colour
    outfit: Outfit
    eyes: Eyes
    iris: Colour
    brow: float
    """Units by which the inner ends of the brows are raised."""
    mouth: Mouth
    beard: Beard | None
    glasses: Glasses | None
    frame: Colour
    freckles: bool
    earrings: bool


def choose_look(seed: int, gender: Gender) -> Look:
    """Return the look that belongs to *seed* and *gender*, always the same."""
    rng = np.random.default_rng((seed, list(Gender).index(gender)))

    def one(options: Sequence[_T]) -> _T:
        return options[int(rng.integers(len(options)))]

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    woman = gender is Gender.FEMALE
    tone = int(rng.choice(len(_SKINS), p=_SKIN_SHARES))
    light, deep = tone < _LIGHT_TONES, tone >= _DEEP_FROM
    if woman and chance(0.07):
        colour = one(_DYED_HAIR)
    else:
        colour = one(_LIGHT_HAIR if light and chance(0.3) else _DARK_HAIR)
    bald = not woman and chance(0.03)
    style = (
        hair_styles.BALD if bald else one(hair_styles.FOR_WOMEN if woman else hair_styles.FOR_MEN)
    )
    return Look(
        woman=woman,
        head=Head(
            x=240,
            y=212,
            half_width=float(rng.uniform(*_HALF_WIDTHS)) - _NARROWER_WOMAN * woman,
            half_height=float(rng.uniform(*_HALF_HEIGHTS)),
            jaw=float(rng.uniform(0.1, 0.2)) + 0.08 * woman,
            skin=_SKINS[tone],
            hair=colour,
            cloth=one(_CLOTHES),
        ),
        deep=deep,
        style=style,
        background=one(_BACKGROUNDS),
        clothes=one(_CLOTHES),
        outfit=one(_OUTFITS_UNDER_LONG_HAIR if style.covers_ears else _OUTFITS),
        eyes=one(_EYES_ON_DEEP_SKIN if deep else _EYES),
        iris=one(_LIGHT_IRISES) if light and chance(0.3) else _BROWN,
        brow=float(rng.uniform(-3, 4)),
        mouth=one(_MOUTHS),
        beard=one(_BEARDS) if not woman and chance(0.7 if bald else 0.34) else None,
        glasses=one(_GLASSES) if chance(0.26) else None,
        frame=one(_FRAMES),
        freckles=light and chance(0.16),
        earrings=woman and not style.covers_ears and chance(0.6),
    )


def rank_traits(looks: Sequence[Look]) -> list[Ranks]:
    """Return where each of *looks* stands among them all, which are of one gender."""

    def having(who: list[bool]) -> list[tuple[float, float]]:
        share = 1 - sum(who) / len(who)
        return [(share, 1.0) if has else (0.0, share) for has in who]

    def ordered(values: Sequence[float]) -> list[tuple[float, float]]:
        ranks = (np.argsort(np.argsort(values)) + 0.5) / len(values)
        return [(max(0.0, rank - _AROUND), min(1.0, rank + _AROUND)) for rank in ranks.tolist()]

    tones = np.array([_SKINS.index(look.head.skin) for look in looks])
    below, above = (np.searchsorted(np.sort(tones), tones, side) for side in ("left", "right"))
    hair = having([look.head.hair in _LIGHT_HAIR for look in looks])
    shows_hair = [
        look.style is not hair_styles.BALD and look.head.hair not in _DYED_HAIR for look in looks
    ]
    columns = {
        "dark_skin": [(a / len(looks), b / len(looks)) for a, b in zip(below, above, strict=True)],
        "glasses": having([look.glasses is not None for look in looks]),
        "light_hair": [h if shown else _ANY for h, shown in zip(hair, shows_hair, strict=True)],
        "beard": (
            [_ANY] * len(looks)
            if looks[0].woman
            else having([look.beard is not None for look in looks])
        ),
        "wide_face": ordered([look.head.half_width / look.head.half_height for look in looks]),
    }
    return list(zip(*(columns[trait] for trait in TRAITS), strict=True))
