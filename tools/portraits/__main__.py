"""Draw all portraits as lossless WebP files, and rank their traits: `make portraits`.

The same code and the same version of Pillow give the same files.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from automatch.demo.portraits import PORTRAITS_PER_GENDER
from automatch.model.people import Gender
from tools.portraits.canvas import in_picture
from tools.portraits.look import choose_look, rank_traits
from tools.portraits.portrait import draw_portrait

FOLDER = Path(__file__).parents[2] / "src" / "automatch" / "demo" / "portraits"

_FIRST_SEED = 200
"""Seeds 200 to 399 include 293: both detectors find that face without doubt, and `automatch verify`
uploads it."""


def draw_file(gender: Gender, number: int) -> bytes:
    """Return the WebP file of one portrait."""
    return draw_portrait(_FIRST_SEED + number, gender).webp()


def write_file(gender: Gender, number: int) -> None:
    """Draw one portrait and write its file."""
    (FOLDER / gender / f"{number:03}.webp").write_bytes(draw_file(gender, number))


def looks_file() -> str:
    """Return `looks.json`: the ranks of all portraits and where their eyes are, a line each."""
    seeds = range(_FIRST_SEED, _FIRST_SEED + PORTRAITS_PER_GENDER)
    groups = []
    for gender in Gender:
        looks = [choose_look(seed, gender) for seed in seeds]
        lines = (
            json.dumps(
                {
                    "ranks": [[round(end, 3) for end in interval] for interval in ranks],
                    "eyes": [[round(x, 4) for x in in_picture(eye)] for eye in look.head.eyes],
                }
            )
            for look, ranks in zip(looks, rank_traits(looks), strict=True)
        )
        groups.append(f'"{gender.value}": [\n' + ",\n".join(lines) + "\n]")
    return "{\n" + ",\n".join(groups) + "\n}\n"


def main() -> None:
    """Replace all files."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    with ProcessPoolExecutor() as pool:
        for gender in Gender:
            (FOLDER / gender).mkdir(parents=True)
            numbers = range(PORTRAITS_PER_GENDER)
            list(pool.map(write_file, [gender] * len(numbers), numbers))
    (FOLDER / "looks.json").write_text(looks_file())


if __name__ == "__main__":
    main()
