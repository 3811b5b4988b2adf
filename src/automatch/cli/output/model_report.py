"""What a change of the model is told as on a terminal."""

from __future__ import annotations

import typer

from automatch.model.embedding_models import ModelChange, ModelComparison, RefusedPhotos


def sentence(change: ModelChange) -> str:
    """Return how far a change is, and what may follow."""
    if change.state == "active":
        return f"{change.before} is kept: `automatch models rollback`, or `retire` to give it up."
    if change.state == "rolled_back":
        return f"{change.model} was in use and is kept: `automatch models use {change.model}`."
    if change.is_ready:
        return f"{change.model} has seen every photo: `automatch models use {change.model}`."
    return (
        f"{change.model} is being prepared: {change.done} photos of {change.total} seen, "
        f"{change.refused} refused."
    )


def print_refused(refused: list[RefusedPhotos]) -> None:
    for one in refused:
        faces = ", ".join(str(face) for face in one.examples)
        typer.echo(f"Not seen, {one.code}: {one.faces} photos ({one.message}) such as {faces}")


def print_comparison(told: ModelComparison) -> None:
    gone, come = told.matches_before - told.in_both, told.matches_after - told.in_both
    typer.echo(
        f"By {told.photos} photos: {told.matches_before} matches now, {told.matches_after} with "
        f"the new model; {told.in_both} in both, {gone} go, {come} come. Without any: "
        f"{told.without_before} now, {told.without_after} then."
    )
    for example in told.examples:
        what = "goes" if example["after"] is None else "comes"
        similarity = example["before"] if example["after"] is None else example["after"]
        typer.echo(f"  {what} {similarity:.2f}  {example['face_id']}  {example['other_face_id']}")
