"""Fits the template by which chips are cut from YuNet's landmarks, and evaluates it.

The face model was trained on chips that dlib cut by its own landmarks. YuNet has others, so they
are fitted to their usual places in dlib's chips. The template is fitted on every other portrait and
evaluated on the rest, by the distance between the embeddings of both chips.

    .venv/bin/python -m benchmarks.yunet_template PORTRAITS YUNET
"""

from __future__ import annotations

import argparse
from pathlib import Path

import dlib
import numpy as np
from PIL import Image

from automatch.vision import DlibEmbedder
from automatch.vision.detect import yunet_detector as yunet
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.embed.similarity_transform import SimilarityTransform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, help="a folder of JPEG files")
    parser.add_argument("yunet", type=Path, help="the file of the detector")
    options = parser.parse_args()
    hog, other, embedder = (
        HogDetector(640, 0.2),
        yunet.YunetDetector(options.yunet, 640, 0.8),
        DlibEmbedder(),
    )
    photos, landmarks, places, chips = [], [], [], []
    for path in sorted(options.portraits.glob("*.jpg")):
        with Image.open(path) as image:
            photo = np.asarray(image.convert("RGB"))
        by_hog, by_yunet = hog.find(photo), other.find(photo)
        if not by_hog or not by_yunet:
            continue
        aligned = hog.align(photo, by_hog[0])
        transform = _transform(aligned.landmarks)
        photos.append(photo)
        landmarks.append(np.array(by_yunet[0].landmarks))
        places.append((landmarks[-1] - transform.offset) @ np.linalg.inv(transform.matrix).T)
        chips.append(aligned.chip)
    print(f"{len(photos)} portraits\ntemplate of all:\n{np.mean(places, axis=0).round(2)}")
    print(f"standard deviation:\n{np.std(places, axis=0).round(2)}")
    template, expected = np.mean(places[::2], axis=0), embedder.embed(np.stack(chips[1::2]))
    for name, points in {"template of the other half": template, "in use": yunet._TEMPLATE}.items():
        cut = [
            SimilarityTransform.from_landmarks(at, points).crop(photo)
            for at, photo in zip(landmarks[1::2], photos[1::2], strict=True)
        ]
        apart = np.linalg.norm(embedder.embed(np.stack(cut)) - expected, axis=1)
        print(f"{name}: median, 95 %, most {np.percentile(apart, [50, 95, 100]).round(3)}")


def _transform(landmarks: tuple[tuple[float, float], ...]) -> SimilarityTransform:
    parts = dlib.points([dlib.point(round(x), round(y)) for x, y in landmarks])
    shape = dlib.full_object_detection(dlib.rectangle(), parts)
    details = dlib.get_face_chip_details(shape, 150, 0.25)
    center = details.rect.center()
    return SimilarityTransform.from_chip((center.x, center.y), details.rect.width(), details.angle)


if __name__ == "__main__":
    main()
