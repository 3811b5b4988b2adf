"""Invented display names: a given name and the initial of a family name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.model.people import Gender

if TYPE_CHECKING:
    import numpy as np

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


def invent_name(gender: Gender, rng: np.random.Generator) -> str:
    """Return a name such as "Minh N." or "Sofia R."."""
    vietnamese = rng.random() < _VIETNAMESE_SHARE
    given = (_VIETNAMESE if vietnamese else _OTHER)[gender].split()
    initials = _VIETNAMESE_INITIALS if vietnamese else _OTHER_INITIALS
    first = given[int(rng.integers(len(given)))].replace("_", " ")
    return f"{first} {initials[int(rng.integers(len(initials)))]}."
