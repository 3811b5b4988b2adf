"""The face models: which is in use, and changing to another while people upload.

Workers do the long part; the steps here wait for whoever holds a lock that they need.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from automatch.errors.embedder import (
    EmbedderError,
    LicenceNotAcceptedError,
    ModelNotReadyError,
    ModelUnfitError,
)
from automatch.errors.store import DatabaseUnavailableError
from automatch.model.embedding_models import ModelChange, ModelComparison, RefusedPhotos
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized, check_role, looking_at_system
from automatch.settings import Settings
from automatch.store.database import Connection, Database
from automatch.store.matching import model_changes as store
from automatch.vision.models.model_files import path_of
from automatch.vision.models.registry import ModelEntry, find_entry, load_registry

RETRY_FOR_S = 10.0
_POLL_S = 0.5

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the registry."""

    entry: ModelEntry
    is_here: bool
    """Whether its files are on this machine."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models there are, and the change of them that goes on."""

    in_use: str
    change: ModelChange | None
    refused: Sequence[RefusedPhotos]
    known: Sequence[KnownModel]


async def load_models(db: Database, operator: Operator, settings: Settings) -> Models:
    """Return what is in use, what there is, and how a change goes on.

    Raises:
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        in_use = await store.read_active_model(conn)
        change = await store.read_change(conn)
        refused = await store.list_refused(conn)
    registry = load_registry(settings.home)
    known = [
        KnownModel(entry, is_here(entry, settings))
        for entry in registry.values()
        if entry.purpose == "embedder"
    ]
    return Models(in_use, change, refused, known)


async def begin_change(
    db: Database,
    operator: Operator,
    settings: Settings,
    name: str,
    *,
    accepted_licence: str | None = None,
) -> None:
    """Have workers embed every photo with another model; searches use the one before meanwhile.

    Raises:
        LicenceNotAcceptedError: its licence forbids commercial use, and was not named.
        EmbedderError: there is no such model, or it cannot be used here.
        InputInvalidError: it is in use, or another change is not over.
        ForbiddenError: see `authorized`.
    """
    check_role(operator, Act.BEGIN_MODEL_CHANGE)
    entry = find_entry(load_registry(settings.home), name)
    check_licence(entry, accepted_licence)
    # It reads the files and runs the model once.
    await asyncio.to_thread(check_usable, entry, settings)
    values = change_values(entry)
    await _retry_while_busy(
        db,
        operator,
        Act.BEGIN_MODEL_CHANGE,
        lambda conn: store.begin_change(conn, actor=operator.actor, **values),
    )


async def compare_models(db: Database, operator: Operator, photos: int) -> ModelComparison:
    """Search for some photos with both models.

    Raises:
        InputInvalidError: there is no other model.
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        return await store.compare_models(conn, photos=photos, examples=5)


async def use_new_model(db: Database, operator: Operator) -> int:
    """Put the new model in use; return how many photos it has seen.

    Raises:
        ModelNotReadyError: a photo is missing.
        ForbiddenError: see `authorized`.
    """
    return await _retry_while_busy(
        db, operator, Act.USE_MODEL, lambda conn: store.finish_change(conn, operator.actor)
    )


async def roll_back(db: Database, operator: Operator) -> int:
    """Put the old model in use again; return how many photos it has yet to see.

    Raises:
        InputInvalidError: there is none.
        ForbiddenError: see `authorized`.
    """
    return await _retry_while_busy(
        db, operator, Act.ROLL_BACK_MODEL, lambda conn: store.roll_back_change(conn, operator.actor)
    )


async def retire(db: Database, operator: Operator) -> str:
    """Delete all that the model which is not in use made of faces; return its name.

    Raises:
        ModelNotReadyError: matches are still being scored.
        ForbiddenError, ReauthenticationNeededError: see `authorized`.
    """
    return await _retry_while_busy(
        db, operator, Act.RETIRE_MODEL, lambda conn: store.retire_change(conn, operator.actor)
    )


def is_here(entry: ModelEntry, settings: Settings) -> bool:
    """Return whether the files of a model exist; `check_usable` checks their contents."""
    try:
        return all(path_of(entry, file, settings.home).is_file() for file in entry.files)
    except EmbedderError:
        return False


def check_licence(entry: ModelEntry, accepted: str | None) -> None:
    """Check that a licence which forbids commercial use was accepted by its name.

    Raises:
        LicenceNotAcceptedError: it was not.
    """
    licence = entry.licence
    if licence.forbids_commercial_use and accepted != licence.name:
        raise LicenceNotAcceptedError(
            f"The licence of {entry.name} forbids commercial use"
            + (f" ({licence.url})" if licence.url else "")
            + f". If you keep to it: --accept-licence {licence.name}"
        )


def check_usable(entry: ModelEntry, settings: Settings) -> None:
    """Read the files of a model, and run it once.

    Raises:
        EmbedderError: it cannot be used here.
    """
    # What runs models is loaded only where one runs.
    from automatch.vision.load import check_compatible, check_model, open_detector, open_embedder

    if entry.purpose != "embedder":
        raise ModelUnfitError(
            f"{entry.name} detects faces: set AUTOMATCH_VISION__YUNET_FILE to its file. Existing "
            "faces need not be embedded again."
        )
    check_model(entry, settings)
    check_compatible(open_embedder(entry.name, settings.home), open_detector(settings.vision))


def change_values(entry: ModelEntry) -> dict[str, Any]:
    """Return what the database has to know of an embedder before a change to it."""
    assert entry.scale is not None
    return {
        "model": entry.name,
        "dimensions": entry.dimensions,
        "midpoint": entry.scale.midpoint,
        "width": entry.scale.width,
        "same_person_u": entry.scale.same_person_u,
        "same_person_same_gender_u": entry.scale.same_person_same_gender_u,
    }


async def _retry_while_busy(
    db: Database, operator: Operator, act: Act, step: Callable[[Connection], Awaitable[_T]]
) -> _T:
    give_up_at = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            async with authorized(db, operator, act) as conn:
                return await step(conn)
        except (DatabaseUnavailableError, ModelNotReadyError):
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(_POLL_S)
