"""Options that several commands take, each with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None, typer.Option("--home", help="Data folder (AUTOMATCH_HOME).", show_default=False)
]
Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")
]
Port = Annotated[
    int | None, typer.Option("--port", help="Port; 0 picks a free one.", show_default="8000")
]
Processes = Annotated[
    int,
    typer.Option(
        "--processes", min=1, max=32, help="Server processes that share the port, one a core."
    ),
]
ServerUrl = Annotated[
    str | None,
    typer.Option("--url", help="Address of the web server, if it differs from the settings."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="The person: an id, or the whole e-mail address.")
]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why, in one line; it stays in the audit log.")
]
Receipt = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write the receipt to this new file, to hand over.", show_default=False
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of rows.")]
Preview = Annotated[
    bool, typer.Option("--preview", help="Show the effect of the threshold and change nothing.")
]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Search again for all photos, after all uploads.")
]
Simulated = Annotated[
    bool, typer.Option("--simulated", help="Include the people of `automatch demo`.")
]
