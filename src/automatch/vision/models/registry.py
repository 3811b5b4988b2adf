"""The registry of models: where their files come from, and how they are used.

`models.toml` beside this module holds the entries of the package, and `models.toml` in the data
folder those of the operator. An entry must name each of its files with its SHA-256.
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
_MUTABLE_REFS = {"main", "master", "head", "latest"}
"""Parts of an address whose content may change."""

Landmarks = Literal["eye_corners_nose", "eyes_nose_mouth"]
"""The five landmarks of a detector: dlib's (four corners of the eyes, the base of the nose), or the
centres of the eyes, the tip of the nose and the corners of the mouth."""

Alignment = Literal["dlib", "arcface"]
"""How faces are aligned in the chips of an embedder. Every detector cuts dlib's chips; ArcFace's
need the landmarks `eyes_nose_mouth`."""

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
_FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Distance = Annotated[float, Field(gt=0, lt=2)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Part):
    """One file of a model."""

    name: _FileName
    sha256: _Sha256
    bytes: int = Field(gt=0, lt=2**33)
    url: str | None = None
    """None if it comes with a package or the operator provides it."""

    @_validator(mode="after")
    def _source_is_pinned(self) -> Self:
        if self.url is None:
            return self
        if not is_safe_address(self.url):
            raise ValueError("the address must begin with https://")
        if _MUTABLE_REFS.intersection(urlsplit(self.url).path.lower().split("/")):
            raise ValueError(
                "the address names a branch, whose content changes; name a commit or a tag"
            )
        return self


class Licence(_Part):
    """The licence of the weights."""

    name: str = Field(min_length=1, max_length=60)
    url: str | None = None
    forbids_commercial_use: bool = False


class Scale(_Part):
    """The similarity scale that a model starts with, as distances u between unit vectors."""

    midpoint: _Distance
    width: _Distance
    same_person_u: _Distance
    """Two faces at this distance or closer count as one person."""
    same_person_same_gender_u: _Distance | None = None
    """The bound for people of one gender, who are more similar; None means the same bound."""
    provisional: bool = False
    """Not measured on strangers of opposite gender, so it should be calibrated."""


class ChipInput(_Part):
    """The input of an ONNX model: `(chip - subtract) / divide`, (n, 3, side, side)."""

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
    """The Python package that contains the files."""
    files: tuple[ModelFile, ...] = Field(min_length=1)
    licence: Licence
    landmarks: Landmarks | None = None
    """For a detector: the landmarks that it finds."""
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
            raise ValueError("a model that runs as onnx must be an embedder of one file")
        return self


def is_safe_address(url: str) -> bool:
    """Tell whether a download from *url* can be neither read nor changed on its way."""
    parts = urlsplit(url)
    # Plain http is safe to this machine itself.
    return bool(parts.hostname) and (
        parts.scheme == "https"
        or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})
    )


@cache
def shipped() -> Mapping[str, ModelEntry]:
    """Return the entries of the package."""
    return _read(_SHIPPED)


def load_registry(data_dir: Path) -> Mapping[str, ModelEntry]:
    """Return the entries of the package and of the data folder.

    Raises:
        ModelsFileError: the operator's file has a mistake, or reuses a name of the package.
    """
    own = data_dir / _OWN
    if not own.is_file():
        return shipped()
    entries = _read(own)
    for name in entries:
        if name in shipped():
            raise ModelsFileError(f"{own}: there is a model {name} already; choose another name.")
    return {**shipped(), **entries}


def find_entry(registry: Mapping[str, ModelEntry], name: str) -> ModelEntry:
    """Return the entry with a name.

    Raises:
        ModelUnknownError: there is none.
    """
    if name not in registry:
        raise ModelUnknownError(f"There is no model {name}; there are {', '.join(registry)}.")
    return registry[name]


def shipped_file(name: str) -> ModelFile:
    """Return the file with a name among the entries of the package."""
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
