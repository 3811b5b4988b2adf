"""Simulated people: everything a school needs to look inhabited, from a seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import numpy as np

from automatch.demo.avatars import draw_avatar
from automatch.demo.names import invent_name
from automatch.demo.population import sample_people
from automatch.model.people import Gender

if TYPE_CHECKING:
    import numpy.typing as npt

_NAMESPACE = UUID("6a1f3f5e-0a53-4f0e-9a3c-2f6f3b5d7c41")
_EARLIEST_BIRTH = date(1998, 1, 1)
_LATEST_BIRTH = date(2007, 12, 31)
"""Everybody is 18 or older on any day from 2026 on; fixed, so that the same seed gives the same."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPerson:
    """Somebody who does not exist."""

    id: UUID
    """The same for the same school, seed and place in the list."""
    name: str
    gender: Gender
    school: str
    birth_date: date
    embedding: npt.NDArray[np.float32]
    """Unit length, in the space of the default model; belongs to no picture."""

    def draw(self) -> bytes:
        """Return this person's portrait, a JPEG of 480 x 480 pixels; takes a few milliseconds."""
        return draw_avatar(self.id.int, self.gender)


def simulated_people(school: str, count: int, seed: int) -> list[SimulatedPerson]:
    """Return *count* people of *school*, every second one a man.

    The same arguments give the same people; a larger *count* begins with those of a smaller one.
    """
    school_seed = uuid5(_NAMESPACE, f"{seed}/{school}").int
    embeddings = {gender: sample_people(gender, (count + 1) // 2, school_seed) for gender in Gender}
    people = []
    for i in range(count):
        gender = (Gender.FEMALE, Gender.MALE)[i % 2]
        person_id = uuid5(_NAMESPACE, f"{seed}/{school}/{i}")
        rng = np.random.default_rng(person_id.int)
        days = int(rng.integers((_LATEST_BIRTH - _EARLIEST_BIRTH).days + 1))
        people.append(
            SimulatedPerson(
                id=person_id,
                name=invent_name(gender, rng),
                gender=gender,
                school=school,
                birth_date=_EARLIEST_BIRTH + timedelta(days=days),
                embedding=embeddings[gender][i // 2],
            )
        )
    return people
