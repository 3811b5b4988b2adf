"""`automatch notice`: privacy notice and consent text, in versions and languages."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from automatch.cli.options import Home, Json, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.output.tables import Table, print_tables, utc
from automatch.cli.runtime.db_session import run_as_operator, run_in_db_session
from automatch.errors.request import InputInvalidError, NotFoundError

if TYPE_CHECKING:
    from automatch.model.notices import PublishedNotice
    from automatch.store.database import Connection

_NAME = "automatch-notice"
Kind = Literal["privacy", "consent"]

app = typer.Typer(
    help="The privacy notice and the consent text: publish, list, show.\n\n"
    "Each language has its own versions. Until you publish a text, the one that comes with "
    "Auto-Match is shown.\n\nExample: `automatch notice list`",
    no_args_is_help=True,
)


@app.command()
def publish(
    *,
    kind: Annotated[Kind, typer.Argument(help="What the text is for.")],
    file: Annotated[Path, typer.Argument(help="Plain text in UTF-8; empty lines part paragraphs.")],
    language: Annotated[str, typer.Option(help="Its language, such as vi or zh-Hant.")],
    ask_again: Annotated[
        bool,
        typer.Option(
            "--ask-again", help="Ask those who agreed before; until then they add no photos."
        ),
    ] = False,
    yes: Yes = False,
    home: Home = None,
) -> None:
    """Publish a new version of a text.

    It cannot be changed or taken back. A consent text replaces the one that comes with
    Auto-Match. Who agreed before is asked again only with --ask-again; texts in other languages
    then need a new version too.

    Example: `automatch notice publish consent consent.vi.txt --language vi`
    """
    from automatch.model.notices import NoticeKind
    from automatch.services.operators.site_operator import publish_notice

    body = _read(file)
    question = (
        f"Publish {len(body)} characters as the {kind} text in {language}? It stays for good."
    )
    if not confirmed(question, yes=yes):
        raise typer.Exit(1)
    version = run_as_operator(
        home,
        lambda me: publish_notice(
            me.db,
            me.operator,
            NoticeKind(kind),
            language=language,
            body=body,
            asks_again=ask_again,
        ),
        name=_NAME,
    )
    echo(f"Published as version {version}.")


def _read(file: Path) -> str:
    try:
        body = file.read_text("utf-8-sig").replace("\r\n", "\n").strip()
    except OSError as exc:
        raise InputInvalidError(f"{file} cannot be read: {exc.strerror}.") from exc
    except UnicodeError as exc:
        raise InputInvalidError(f"{file} is not text in UTF-8.") from exc
    if not body or "\0" in body:
        raise InputInvalidError(f"{file} is empty or not text.")
    return body


@app.command("list")
def list_notices(home: Home = None, as_json: Json = False) -> None:
    """List all versions, newest first.

    Example: `automatch notice list`
    """
    found = run_in_db_session(home, _list, name=_NAME)
    if as_json:
        echo_json([{"kind": kind, **asdict(notice)} for kind, notice in found])
        return
    rows = [
        (
            kind,
            notice.version,
            notice.language,
            utc(notice.published_at),
            "operator" if notice.by_operator else "Auto-Match",
            "yes" if notice.asks_again else "no",
        )
        for kind, notice in found
    ]
    columns = ("kind", "version", "language", "published (UTC)", "by", "asks again")
    print_tables(Table(columns, rows, optional_columns=("by", "asks again")))


@app.command()
def show(
    kind: Annotated[Kind, typer.Argument(help="What the text is for.")],
    version: Annotated[str, typer.Argument(help="As `list` shows it.")],
    home: Home = None,
) -> None:
    """Print the text of a version.

    Example: `automatch notice show consent 2026-11`
    """
    for found, notice in run_in_db_session(home, _list, name=_NAME):
        if (found, notice.version) == (kind, version):
            echo(notice.body)
            return
    raise NotFoundError(f"There is no version {version}; `automatch notice list` shows all.")


async def _list(conn: Connection) -> list[tuple[str, PublishedNotice]]:
    from automatch.model.notices import NoticeKind
    from automatch.store.operators import notices

    return [
        (kind.value, notice)
        for kind in NoticeKind
        for notice in await notices.list_published(conn, kind)
    ]
