"""Tables of cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from automatch.cli.output.tables import Table, or_dash, print_tables, utc
from automatch.model.cases import Case, CaseDetails, CaseState

if TYPE_CHECKING:
    from automatch.services.protection.cases import CaseFile


def print_cases(cases: Sequence[Case]) -> None:
    """Print one line per case."""
    columns = ("case", "reason", "state", "since (UTC)", "hidden", "other cases", "decision")
    rows = [
        (
            case.id,
            case.reason,
            _state(case),
            utc(case.opened_at),
            "yes" if case.hides else "no",
            case.others,
            or_dash(case.decision),
        )
        for case in cases
    ]
    print_tables(Table(columns, rows, optional_columns=("other cases",), if_empty="No such case."))


def print_case(file: CaseFile) -> None:
    """Print everything about one case."""
    details = file.details
    fields = {
        "case": details.id,
        "kind": details.kind.replace("_", "-"),
        "reason": details.reason,
        "state": _state(details),
        "since (UTC)": utc(details.opened_at),
        "hidden by the report": "yes" if details.hides else "no",
        "decision": or_dash(details.decision),
        "decided by": or_dash(details.decided_by),
        "person": or_dash(details.profile_id),
        "name": or_dash(details.name),
        "school": or_dash(details.school),
        "gender": or_dash(details.gender),
        "born": or_dash(details.birth_date),
        "frozen": "yes" if details.frozen else "no",
        "photos": or_dash(", ".join(map(str, details.face_ids))),
        "hidden photos": or_dash(", ".join(map(str, details.hidden_face_ids))),
        "reported photo": or_dash(details.face_id),
        "reporter": or_dash(details.reporter_id),
    }
    print_tables(
        Table.of_fields(fields),
        Table(
            ("written (UTC)", "by", "for", "text"),
            [
                (utc(each.written_at), each.actor or each.author, each.audience, each.body)
                for each in file.messages
            ],
            wrapped_column="text",
            if_empty="Nothing is written.",
        ),
        Table(
            ("shown to", "since (UTC)", "still", "photo sent (UTC)"),
            [
                (
                    each.profile_id,
                    utc(each.shown_at),
                    "yes" if each.is_shown else "no",
                    utc(each.seen_at),
                )
                for each in file.viewers
            ],
            if_empty="Shown to nobody.",
        ),
        Table(
            ("at (UTC)", "who", "did"),
            [(utc(each.recorded_at), each.actor, each.action) for each in file.records],
        ),
    )


def _state(case: Case | CaseDetails) -> str:
    undecided = case.state is not CaseState.DECIDED
    return "appeal" if case.appealed_at and undecided else case.state
