"""The registry: which models there are, where their files come from and what they need.

It is data. `models.toml` beside this module comes with the package, and the operator's own entries
lie in `models.toml` of the data folder. Both are read into the same values, and whatever does not
name its files by their SHA-256 is no entry.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as _validator

from automatch.errors.configuration import ModelsFileError
from automatch.errors.embedder import ModelUnknownError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHIPPED = Path(__file__).with_name("models.toml")
_OWN = "models.toml"
_MOVING = {"main", "master", "head", "latest"}
"""Parts of an address behind which something else may lie tomorrow."""

Landmarks = Literal["eye_corners_nose", "eyes_nose_mouth"]
"""The five points that a detector gives: dlib's (four corners of the eyes, the nose's base), or the
middles of the eyes, the tip of the nose and the corners of the mouth."""

Alignment = Literal["dlib", "arcface"]
"""How faces lie in the chips that an embedder takes. Every detector cuts dlib's; ArcFace's template
needs `eyes_nose_mouth`."""

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
_FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Distance = Annotated[float, Field(gt=0, lt=2)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Part):
    """One file of a model, known by its content."""

    name: _FileName
    sha256: _Sha256
    bytes: int = Field(gt=0, lt=2**33)
    url: str | None = None
    """None: it comes with a package, or the operator brings it."""

    @_validator(mode="after")
    def _source_is_pinned(self) -> Self:
        if self.url is None:
            return self
        if not is_safe_address(self.url):
            raise ValueError("the address must begin with https://")
        if _MOVING.intersection(urlsplit(self.url).path.lower().split("/")):
            raise ValueError("the address names a branch, which moves on; name a commit or a tag")
        return self


class Licence(_Part):
    """Under which terms the weights may be used."""

    name: str = Field(min_length=1, max_length=60)
    url: str | None = None
    forbids_commercial_use: bool = False


class Scale(_Part):
    """The similarity scale that a model starts with: distances u of unit vectors."""

    midpoint: _Distance
    width: _Distance
    same_person_u: _Distance
    """Two faces with a u up to this are taken for one person."""
    same_person_same_gender_u: _Distance | None = None
    """The same for two people of one gender, who look more alike; None: the same bound."""
    provisional: bool = False
    """Not measured on strangers of opposite gender; to be calibrated."""


class ChipInput(_Part):
    """What the network of an ONNX model takes: `(chip - subtract) / divide`, (n, 3, side, side)."""

    side: int = Field(ge=32, le=512)
    colours: Literal["rgb", "bgr"] = "rgb"
    subtract: float = 0.0
    divide: float = Field(1.0, gt=0)


class ModelEntry(_Part):
    """One model."""

    name: _Name
    purpose: Literal["embedder", "detector"]
    runs_as: Literal["dlib", "yunet", "onnx"]
    about: str = ""
    package: str | None = None
    """The Python package that brings the files."""
    files: tuple[ModelFile, ...] = Field(min_length=1)
    licence: Licence
    landmarks: Landmarks | None = None
    """Of a detector: what it gives."""
    dimensions: int | None = Field(None, ge=2, le=4000)
    alignment: Alignment | None = None
    input: ChipInput | None = None
    scale: Scale | None = None

    @_validator(mode="after")
    def _is_whole(self) -> Self:
        wanted = {
            "embedder": ("dimensions", "alignment", "scale"),
            "detector": ("landmarks",),
        }[self.purpose]
        missing = [field for field in wanted if getattr(self, field) is None]
        if self.runs_as == "onnx" and self.input is None:
            missing.append("input")
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        if self.runs_as == "onnx" and (self.purpose != "embedder" or len(self.files) != 1):
            raise ValueError("what runs as onnx is an embedder of one file")
        return self


def is_safe_address(url: str) -> bool:
    """Tell whether nobody on the way can see or change what comes from *url*."""
    parts = urlsplit(url)
    # To this very machine there is no way on which anybody sits.
    return bool(parts.hostname) and (
        parts.scheme == "https"
        or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})
    )


@cache
def shipped() -> Mapping[str, ModelEntry]:
    """Return the entries that come with the package."""
    return _read(_SHIPPED)


def load_registry(home: Path) -> Mapping[str, ModelEntry]:
    """Return all entries, those of the data folder *home* too.

    Raises:
        ModelsFileError: the operator's file has a mistake, or a name that is taken.
    """
    own = home / _OWN
    if not own.is_file():
        return shipped()
    entries = _read(own)
    for name in entries:
        if name in shipped():
            raise ModelsFileError(f"{own}: there is a model {name} already; choose another name.")
    return {**shipped(), **entries}


def find_entry(registry: Mapping[str, ModelEntry], name: str) -> ModelEntry:
    """Return an entry by its name.

    Raises:
        ModelUnknownError: there is none.
    """
    if name not in registry:
        raise ModelUnknownError(f"There is no model {name}; there are {', '.join(registry)}.")
    return registry[name]


def shipped_file(name: str) -> ModelFile:
    """Return a file that an entry of the package names."""
    return next(file for entry in shipped().values() for file in entry.files if file.name == name)


def _read(path: Path) -> Mapping[str, ModelEntry]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelsFileError(f"{path} cannot be read: {exc}.") from exc
    return {name: _entry(path, name, table) for name, table in tables.items()}


def _entry(path: Path, name: str, table: Any) -> ModelEntry:
    if not isinstance(table, dict):
        raise ModelsFileError(f"{path}: {name} is no table; write [{name}].")
    try:
        return ModelEntry(**{**table, "name": name})
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise ModelsFileError(
            f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}."
        ) from exc
