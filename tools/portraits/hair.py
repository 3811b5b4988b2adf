"""Which hair styles there are: a part behind the head and a part in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.portraits import long_hair, short_hair

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.portraits.canvas import Canvas
    from tools.portraits.head import Head


@dataclass(frozen=True)
class HairStyle:
    """How to draw one style; `None` where there is nothing to draw."""

    back: Callable[[Canvas, Head], None] | None
    front: Callable[[Canvas, Head], None] | None
    covers_ears: bool = False


FOR_MEN: tuple[HairStyle, ...] = (
    HairStyle(None, short_hair.side_part),
    HairStyle(None, short_hair.quiff),
    HairStyle(None, short_hair.buzz),
    HairStyle(None, short_hair.curly_top),
    HairStyle(short_hair.afro_back, short_hair.afro_front),
    HairStyle(None, short_hair.soft_fringe),
    HairStyle(None, short_hair.middle_part_short),
    HairStyle(None, short_hair.swept_back),
    HairStyle(short_hair.top_knot_back, short_hair.swept_back),
    HairStyle(long_hair.shoulder_length_back, short_hair.middle_part_short, covers_ears=True),
)

FOR_WOMEN: tuple[HairStyle, ...] = (
    HairStyle(long_hair.long_back, long_hair.curtains, covers_ears=True),
    HairStyle(long_hair.long_back, long_hair.side_sweep, covers_ears=True),
    HairStyle(long_hair.long_back, long_hair.bangs, covers_ears=True),
    HairStyle(long_hair.wavy_back, long_hair.side_sweep, covers_ears=True),
    HairStyle(long_hair.shoulder_length_back, long_hair.bangs, covers_ears=True),
    HairStyle(long_hair.shoulder_length_back, long_hair.curtains, covers_ears=True),
    HairStyle(short_hair.top_knot_back, short_hair.swept_back),
    HairStyle(long_hair.ponytail_back, short_hair.swept_back),
    HairStyle(long_hair.shoulder_length_back, long_hair.braid, covers_ears=True),
    HairStyle(None, short_hair.pixie),
    HairStyle(long_hair.curls_back, long_hair.side_sweep, covers_ears=True),
    HairStyle(long_hair.big_afro_back, short_hair.afro_front, covers_ears=True),
    HairStyle(long_hair.scarf_back, long_hair.scarf_front, covers_ears=True),
)

BALD = HairStyle(None, None)
