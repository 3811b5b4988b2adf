"""Simulated people: adding them to a school, and removing them from all schools."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

from automatch.demo.people import SimulatedPerson
from automatch.errors.request import InputInvalidError
from automatch.model.people import SERVICE
from automatch.photos.store import PhotoStore, photo_path
from automatch.store.database import Database
from automatch.store.matching.model_changes import read_active_model
from automatch.store.people.demo import (
    add_simulated_person,
    find_school,
    list_simulated_people,
    remove_simulated_person,
    search_for,
)
from automatch.store.people.schools import add_school

_ACTOR = "automatch demo"
_MODEL = "dlib"
"""The model whose embeddings the simulated ones resemble."""


async def fill_school(
    db: Database, photos: PhotoStore, people: Sequence[SimulatedPerson], *, search: bool = False
) -> AsyncIterator[SimulatedPerson]:
    """Add simulated people to their school and yield each; those who exist are not added again.

    A school that is not on the list is opened; in a closed one they are made members. With *search*
    each is matched with everybody who is there already, as after an upload.

    Raises:
        InputInvalidError: another model is active, with whose embeddings these cannot be compared.
    """
    school = people[0].school if people else ""
    async with db.as_user(SERVICE) as conn:
        model = await read_active_model(conn)
        if people and await find_school(conn, school) is None:
            await add_school(conn, _ACTOR, school, is_open=True)
        school = await find_school(conn, school) or school
    if model != _MODEL:
        raise InputInvalidError(
            f"Simulated people exist for the model {_MODEL} only, and {model} is active."
        )
    for person in people:
        portrait = await asyncio.to_thread(person.portrait)
        await photos.put_copies(photo_path(person.id), full=portrait, thumb=portrait)
        async with db.as_user(SERVICE) as conn:
            await add_simulated_person(
                conn,
                person_id=person.id,
                name=person.name,
                school=school,
                gender=person.gender.value,
                birth_date=person.birth_date,
                embedding=person.embedding,
                eyes=person.eyes,
                image_sha256=hashlib.sha256(portrait).hexdigest(),
            )
            if search:
                await search_for(conn, person.id)
        yield person


async def count_simulated(db: Database) -> int:
    async with db.as_user(SERVICE) as conn:
        return len(await list_simulated_people(conn))


async def empty_school(db: Database, photos: PhotoStore) -> AsyncIterator[None]:
    """Delete the simulated people of all schools with their matches, yielding after each."""
    async with db.as_user(SERVICE) as conn:
        people = await list_simulated_people(conn)
    for person_id in people:
        async with db.as_user(SERVICE) as conn:
            await remove_simulated_person(conn, person_id)
        await photos.erase([photo_path(person_id)])
        yield
