"""The console's page of the threshold: try one, set it, and the versions of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.model.operators import AuditEntry
from automatch.model.similarity import StoredScale, ThresholdPreview
from automatch.services.matching import thresholds
from automatch.services.matching.thresholds import TRIED, ThresholdFigures, ThresholdState
from automatch.services.operation.figures import Made
from automatch.services.operators.acts import Act
from automatch.web.amounts import as_count
from automatch.web.console.frame import ConfirmPage, ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import go_to, read_form, text_of

router = APIRouter(prefix="/admin/threshold", route_class=ConsoleRoute, include_in_schema=False)

_Version = Annotated[int, Path(lt=2**31)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdPage(ConsolePage):
    """What each threshold would mean, and the one in use."""

    template: ClassVar[str] = "console/threshold.html"
    section: ClassVar[str] = "threshold"
    title: str = "Threshold"
    state: ThresholdState
    made: Made[ThresholdFigures]
    wanted: float
    """The threshold that is tried."""
    history: Sequence[AuditEntry]

    @property
    def figures(self) -> ThresholdFigures | None:
        """What was worked out, if it was."""
        return self.made.value

    @property
    def tried(self) -> Sequence[float]:
        """What the slider goes through."""
        return TRIED

    @property
    def meaning(self) -> ThresholdPreview | None:
        """What the tried one would mean."""
        return self.figures.at(self.wanted) if self.figures else None

    @property
    def bar_edges(self) -> list[float]:
        """Where each bar begins on the scale of similarity."""
        return [edge for edge, _ in self.figures.bars] if self.figures else []

    @property
    def bar_shares(self) -> list[float]:
        """The share of the pairs in each bar, in percent."""
        return [share for _, share in self.figures.bars] if self.figures else []

    @property
    def scales(self) -> Sequence[StoredScale]:
        """The versions of the scale, newest first."""
        return self.state.scales


@router.get("")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def show_threshold(me: MeDep, services: ServicesDep, value: str = "") -> Response:
    """Show what a threshold would mean."""
    state = await thresholds.load_threshold(services.db, me)
    return show(
        ThresholdPage(
            me=me,
            state=state,
            made=services.threshold_figures.latest(),
            wanted=_similarity(value) or state.now.threshold,
            history=state.changes,
        )
    )


@router.post("/figures")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def make_again(_: MeDep, services: ServicesDep) -> Response:
    """Work the figures out anew, in the background."""
    services.threshold_figures.renew()
    return go_to("/admin/threshold")


@router.get("/set")
@declare(Access.CONSOLE, act=Act.SET_THRESHOLD)
async def confirm(me: MeDep, services: ServicesDep, value: str = "", rerun: str = "") -> Response:
    """Say what a new threshold does, and ask."""
    wanted = _similarity(value)
    if wanted is None:
        raise InputInvalidError("A threshold is a similarity between 0 and 1, such as 0.4.")
    state = await thresholds.load_threshold(services.db, me)
    figures = services.threshold_figures.latest().value
    facts = [
        f"From now on two people match at a similarity of at least {wanted:g}; "
        f"now it is {state.now.threshold:g}.",
        "Matches that exist stay.",
    ]
    for text, level in (("Now", state.now.threshold), ("Then", wanted)):
        if figures and (found := figures.at(level)):
            facts.append(
                f"{text}: {found.matches:.1f} matches per person, {found.without_any} of "
                f"{found.people} people with none."
            )
    facts.append(
        f"Everybody is searched for again: {as_count(state.now.photos, 'jobs')}, behind uploads."
        if rerun
        else "Nobody is searched for again; it counts for searches from now on."
    )
    return show(
        ConfirmPage(
            me=me,
            title=f"Set the threshold to {wanted:g}",
            act=Act.SET_THRESHOLD,
            facts=facts,
            button="Set it and search again" if rerun else "Set it",
            back=f"/admin/threshold?value={wanted:g}",
            hidden={"value": f"{wanted:g}", "rerun": rerun},
        )
    )


@router.post("/set")
@declare(Access.CONSOLE, act=Act.SET_THRESHOLD)
async def set_threshold(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Set it."""
    form = await read_form(request)
    wanted = _similarity(text_of(form, "value"))
    if wanted is None:
        raise InputInvalidError("A threshold is a similarity between 0 and 1, such as 0.4.")
    await thresholds.set_threshold(services.db, me, wanted, rerun=bool(text_of(form, "rerun")))
    services.threshold_figures.renew()
    return go_to("/admin/threshold")


@router.get("/scales/{version:int}")
@declare(Access.CONSOLE, act=Act.USE_SCALE)
async def confirm_scale(version: _Version, me: MeDep, services: ServicesDep) -> Response:
    """Say what another version of the scale does, and ask."""
    state = await thresholds.load_threshold(services.db, me)
    return show(
        ConfirmPage(
            me=me,
            title=f"Use version {version} of the scale",
            act=Act.USE_SCALE,
            facts=[
                "Every similarity is worked out anew from it; workers do that within minutes.",
                f"The threshold stays {state.now.threshold:g}; it lets other matches through.",
                "The version in use now is kept, so that you can go back.",
            ],
            button=f"Use version {version}",
            back="/admin/threshold",
        )
    )


@router.post("/scales/{version:int}")
@declare(Access.CONSOLE, act=Act.USE_SCALE)
async def use_scale(version: _Version, me: MeDep, services: ServicesDep) -> Response:
    """Use another version."""
    await thresholds.use_scale(services.db, me, version)
    services.threshold_figures.renew()
    return go_to("/admin/threshold")


def _similarity(text: str) -> float | None:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < 1 else None
