"""Simulated people: names, dates of birth, portraits and embeddings, all from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import numpy as np

from automatch.demo.population import sample_people
from automatch.demo.portraits import PORTRAITS_PER_GENDER, read_looks, read_portrait
from automatch.model.people import Gender

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.model.faces import EyePlaces

_NAMESPACE = UUID("6a1f3f5e-0a53-4f0e-9a3c-2f6f3b5d7c41")
_EARLIEST_BIRTH = date(1998, 1, 1)
_LATEST_BIRTH = date(2007, 12, 31)
"""Everybody is at least 18 from 2026 on. The dates are fixed, so that a seed always gives the same
people."""

_VIETNAMESE_SHARE = 0.6
"""Most names fit a school such as UIT in Ho Chi Minh City; the others come from elsewhere."""

_VIETNAMESE = {
    Gender.MALE: (
        "An Anh Bách Bảo Bình Cường Đạt Đức Dũng Duy Gia_Bảo Hải Hiếu Hoàng Huy Hùng Khải Khang "
        "Khánh Khoa Kiên Lâm Long Minh Minh_Khôi Nghĩa Nhân Nhật Phát Phong Phúc Quân Quang Quốc "
        "Sơn Tâm Thành Thiện Thịnh Tiến Trí Trung Tú Tuấn Tùng Việt Vinh"
    ),
    Gender.FEMALE: (
        "An Anh_Thư Bảo_Ngọc Bích Châu Chi Diệp Dung Giang Hà Hân Hạnh Hiền Hoa Hồng Hương "
        "Khánh_Linh Kim Lan Linh Loan Mai Mai_Anh Minh_Châu My Nga Ngân Ngọc Nguyệt Nhi Như "
        "Phương Quyên Quỳnh Tâm Thảo Thanh Thu Thư Thủy Tiên Trâm Trang Trinh Tú Uyên Vân Vy Yến"
    ),
}
_VIETNAMESE_INITIALS = "NNNNTTTLLPPHHVVDĐBCKMQ"

_OTHER = {
    Gender.MALE: (
        "Adam Adil Amir Arjun Ben Carlos Chen Daniel David Diego Elias Emeka Ethan Farid Felix "
        "Gabriel Haruki Hugo Ibrahim Ivan Jakob Jamal James Jin Joon Julian Kai Karim Kofi Kwame "
        "Leo Liam Luca Lukas Marco Mateo Matteo Mikhail Nikhil Noah Omar Oscar Rafael Ravi Ryo "
        "Samir Sanjay Sven Tomás Viktor Wei Yusuf Zain"
    ),
    Gender.FEMALE: (
        "Aaliyah Aiko Aisha Alma Amara Amelia Ana Anika Astrid Beatriz Camila Chiara Clara Dalia "
        "Elena Elif Emma Esi Eva Fatima Freya Grace Hana Hannah Inés Ingrid Isabel Jia Julia Kavya "
        "Lea Leila Lina Lucía Maya Mei Mina Nadia Naledi Nina Nour Olivia Priya Rania Rosa Sakura "
        "Sara Sofia Suda Tara Wanjiru Yara Zoe"
    ),
}
_OTHER_INITIALS = "ABCDEFGHIJKLMNOPRSTVWYZ"


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPerson:
    """A person who does not exist."""

    id: UUID
    """The same for the same school, seed and place in the list."""
    name: str
    gender: Gender
    school: str
    birth_date: date
    embedding: npt.NDArray[np.float32]
    """A unit vector like those of the default model, of somebody who looks like the portrait."""
    portrait_number: int
    """The first 200 people of a gender at a school have different portraits; then they repeat."""

    @property
    def eyes(self) -> EyePlaces:
        """Where the portrait has its eyes."""
        return read_looks(self.gender)[self.portrait_number].eyes

    def portrait(self) -> bytes:
        """Return this person's portrait, a JPEG of 480 x 480 pixels."""
        return read_portrait(self.gender, self.portrait_number)


def simulated_people(school: str, count: int, seed: int) -> list[SimulatedPerson]:
    """Return *count* people of *school*, every second one a man.

    The same arguments give the same people; a larger *count* begins with those of a smaller one.
    """
    school_seed = uuid5(_NAMESPACE, f"{seed}/{school}").int
    numbers = [(school_seed + i) % PORTRAITS_PER_GENDER for i in range((count + 1) // 2)]
    embeddings = {}
    for gender in Gender:
        looks = read_looks(gender)
        embeddings[gender] = sample_people(gender, [looks[n].ranks for n in numbers], school_seed)
    people = []
    for i in range(count):
        gender = (Gender.FEMALE, Gender.MALE)[i % 2]
        person_id = uuid5(_NAMESPACE, f"{seed}/{school}/{i}")
        rng = np.random.default_rng(person_id.int)
        days = int(rng.integers((_LATEST_BIRTH - _EARLIEST_BIRTH).days + 1))
        people.append(
            SimulatedPerson(
                id=person_id,
                name=_invent_name(gender, rng),
                gender=gender,
                school=school,
                birth_date=_EARLIEST_BIRTH + timedelta(days=days),
                embedding=embeddings[gender][i // 2],
                portrait_number=numbers[i // 2],
            )
        )
    return people


def _invent_name(gender: Gender, rng: np.random.Generator) -> str:
    """Return a name such as "Minh N." or "Sofia R."."""
    vietnamese = rng.random() < _VIETNAMESE_SHARE
    given = (_VIETNAMESE if vietnamese else _OTHER)[gender].split()
    initials = _VIETNAMESE_INITIALS if vietnamese else _OTHER_INITIALS
    first = given[int(rng.integers(len(given)))].replace("_", " ")
    return f"{first} {initials[int(rng.integers(len(initials)))]}."
