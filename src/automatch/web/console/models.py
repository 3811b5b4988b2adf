"""The console's page of the face models, and of the change from one to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import NotFoundError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.model.embedding_models import ModelComparison
from automatch.services.matching import model_changes
from automatch.services.matching.model_changes import KnownModel, Models
from automatch.services.operators.acts import Act
from automatch.web.console.frame import ConfirmPage, ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import go_to, read_form, text_of

router = APIRouter(prefix="/admin/models", route_class=ConsoleRoute, include_in_schema=False)

_COMPARED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsPage(ConsolePage):
    """The models there are, and a change that goes on."""

    template: ClassVar[str] = "console/models.html"
    section: ClassVar[str] = "models"
    title: str = "Models"
    models: Models

    @property
    def progress(self) -> float:
        """How much of a change is done, in percent."""
        change = self.models.change
        if change is None or not change.total:
            return 100
        return min(100 * (change.done + change.refused) / max(change.total, 1), 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPage(ConsolePage):
    """What the other model would change."""

    template: ClassVar[str] = "console/model_comparison.html"
    section: ClassVar[str] = "models"
    title: str = "Compare the models"
    models: Models
    found: ModelComparison


@router.get("")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def show_models(me: MeDep, services: ServicesDep) -> Response:
    """Show what is in use, and how a change goes on."""
    models = await model_changes.load_models(services.db, me, services.settings)
    return show(ModelsPage(me=me, models=models))


@router.get("/comparison")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def compare(me: MeDep, services: ServicesDep) -> Response:
    """Search for some photos with both models."""
    models = await model_changes.load_models(services.db, me, services.settings)
    found = await model_changes.compare_models(services.db, me, _COMPARED)
    return show(ComparisonPage(me=me, models=models, found=found))


@router.get("/begin/{name}")
@declare(Access.CONSOLE, act=Act.BEGIN_MODEL_CHANGE)
async def confirm_begin(name: str, me: MeDep, services: ServicesDep) -> Response:
    """Say what a change does, and ask."""
    models = await model_changes.load_models(services.db, me, services.settings)
    known = _find(models, name)
    licence = known.entry.licence
    facts = [
        f"Workers embed every photo again with {name}, behind all uploads.",
        f"Searches go on with {models.in_use}; nothing that people see changes.",
        "When all photos are done you compare the two, and decide.",
        f"Licence: {licence.name}" + (f" ({licence.url})" if licence.url else "") + ".",
    ]
    if licence.forbids_commercial_use:
        facts.append(
            "This licence forbids commercial use. By going on you say that you keep to it."
        )
    return show(
        ConfirmPage(
            me=me,
            title=f"Prepare {name}",
            act=Act.BEGIN_MODEL_CHANGE,
            facts=facts,
            button="Accept the licence and prepare it"
            if licence.forbids_commercial_use
            else "Prepare it",
            back="/admin/models",
            hidden={"licence": licence.name},
        )
    )


@router.post("/begin/{name}")
@declare(Access.CONSOLE, act=Act.BEGIN_MODEL_CHANGE)
async def begin(name: str, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Have the photos embedded with another model."""
    licence = text_of(await read_form(request), "licence")
    _find(await model_changes.load_models(services.db, me, services.settings), name)
    await model_changes.begin_change(
        services.db, me, services.settings, name, accepted_licence=licence
    )
    return go_to("/admin/models")


@router.get("/use")
@declare(Access.CONSOLE, act=Act.USE_MODEL)
async def confirm_use(me: MeDep, services: ServicesDep) -> Response:
    """Say what the new model in use means, and ask."""
    models = await model_changes.load_models(services.db, me, services.settings)
    new = models.change.model if models.change else "the new model"
    return show(
        ConfirmPage(
            me=me,
            title=f"Put {new} in use",
            act=Act.USE_MODEL,
            facts=[
                f"From that moment on everybody is searched for with {new}, all at once.",
                "Matches are scored anew, and everybody is searched for again behind uploads.",
                f"{models.in_use} is kept, so that you can go back.",
            ],
            button=f"Put {new} in use",
            back="/admin/models",
        )
    )


@router.post("/use")
@declare(Access.CONSOLE, act=Act.USE_MODEL)
async def use(me: MeDep, services: ServicesDep) -> Response:
    """Put the new model in use."""
    await model_changes.use_new_model(services.db, me)
    return go_to("/admin/models")


@router.get("/back")
@declare(Access.CONSOLE, act=Act.ROLL_BACK_MODEL)
async def confirm_back(me: MeDep, services: ServicesDep) -> Response:
    """Say what going back means, and ask."""
    models = await model_changes.load_models(services.db, me, services.settings)
    old = models.change.before if models.change else "the model before"
    return show(
        ConfirmPage(
            me=me,
            title=f"Go back to {old}",
            act=Act.ROLL_BACK_MODEL,
            facts=[
                f"From that moment on everybody is searched for with {old}, all at once.",
                "Photos that came since are queued, so that it sees them too.",
                f"{models.in_use} is kept until you delete it.",
            ],
            button=f"Go back to {old}",
            back="/admin/models",
        )
    )


@router.post("/back")
@declare(Access.CONSOLE, act=Act.ROLL_BACK_MODEL)
async def go_back(me: MeDep, services: ServicesDep) -> Response:
    """Put the old model in use again."""
    await model_changes.roll_back(services.db, me)
    return go_to("/admin/models")


@router.get("/retire")
@declare(Access.CONSOLE, act=Act.RETIRE_MODEL)
async def confirm_retire(me: MeDep, services: ServicesDep) -> Response:
    """Say what is deleted, and ask."""
    models = await model_changes.load_models(services.db, me, services.settings)
    return show(
        ConfirmPage(
            me=me,
            title="Delete the other model's embeddings",
            act=Act.RETIRE_MODEL,
            facts=[
                f"{models.in_use} stays in use.",
                "All that the other model made of faces is deleted; there is no way back to it "
                "but to embed every photo again.",
                "Matches that only it found are deleted by the workers.",
            ],
            button="Delete them",
            back="/admin/models",
            is_final=True,
        )
    )


@router.post("/retire")
@declare(Access.CONSOLE, act=Act.RETIRE_MODEL)
async def retire(me: MeDep, services: ServicesDep) -> Response:
    """Delete what the other model made of faces."""
    await model_changes.retire(services.db, me)
    return go_to("/admin/models")


def _find(models: Models, name: str) -> KnownModel:
    for known in models.known:
        if known.entry.name == name:
            return known
    raise NotFoundError("There is no such model.")
