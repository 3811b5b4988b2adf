"""A switch of the model, in sentences."""

from __future__ import annotations

import typer

from automatch.model.embedding_models import ModelChange, ModelComparison, RefusedPhotos


def sentence(change: ModelChange) -> str:
    """Return the progress of a switch, and what can be done next."""
    if change.state == "active":
        return f"{change.before} is kept: `automatch models rollback`, or `retire` to delete it."
    if change.state == "rolled_back":
        return f"{change.model} was in use and is kept: `automatch models use {change.model}`."
    if change.is_ready:
        return f"{change.model} has embedded every photo: `automatch models use {change.model}`."
    return (
        f"{change.model} is being prepared: {change.done} of {change.total} photos embedded, "
        f"{change.refused} refused."
    )


def print_refused(refused: list[RefusedPhotos]) -> None:
    for group in refused:
        faces = ", ".join(str(face) for face in group.examples)
        typer.echo(f"Refused, {group.code}: {group.faces} photos ({group.message}), e.g. {faces}")


def print_comparison(comparison: ModelComparison) -> None:
    lost = comparison.matches_before - comparison.in_both
    gained = comparison.matches_after - comparison.in_both
    typer.echo(
        f"In a sample of {comparison.photos} photos: {comparison.matches_before} matches now, "
        f"{comparison.matches_after} with the new model; {comparison.in_both} in both, {lost} "
        f"lost, {gained} gained. Photos without a match: {comparison.without_before} now, "
        f"{comparison.without_after} then."
    )
    for example in comparison.examples:
        change = "lost" if example["after"] is None else "gained"
        similarity = example["before"] if example["after"] is None else example["after"]
        typer.echo(f"  {change} {similarity:.2f}  {example['face_id']}  {example['other_face_id']}")
