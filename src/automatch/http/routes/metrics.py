"""`/metrics` for Prometheus; only a server with a token for it has this route."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import on_loop
from automatch.services.operation.metrics import ServerScrape
from automatch.telemetry.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"], route_class=DeclaredRoute)


def _scrape_of(request: Request) -> ServerScrape:
    scrape: ServerScrape = request.app.state.scrape
    return scrape


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    summary="Metrics",
)
@declare(Access.METRICS_KEY)
async def read_metrics(scrape: Annotated[ServerScrape, Depends(on_loop(_scrape_of))]) -> Response:
    """Return the metrics of the server in the text format of Prometheus."""
    return Response(await scrape.read(), media_type=CONTENT_TYPE)
