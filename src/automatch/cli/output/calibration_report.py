"""What a calibration found, as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from automatch.cli.commands.threshold import print_preview
from automatch.cli.output.charts import histogram_lines, histogram_svg
from automatch.model.embedding_models import EmbeddingModel
from automatch.model.similarity import ComparablePeople, StoredScale, ThresholdPreview
from automatch.search.calibration import RATES, Calibration

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Report:
    """A fitted scale beside the one in use, and what it would mean."""

    model: EmbeddingModel
    people: ComparablePeople
    distances: npt.NDArray[np.float64]
    calibration: Calibration
    in_use: float
    """The threshold."""
    previews: Sequence[ThresholdPreview]

    def print(self) -> None:
        """Print it for a person."""
        fitted, people = self.calibration, self.people
        for line in histogram_lines(self.distances, fitted.scale):
            typer.echo(line)
        typer.echo("")
        typer.echo(
            f"Fitted to {fitted.pairs} pairs of strangers ({people.women} women and {people.men} "
            f"men in {people.schools} schools); {fitted.left_out} pairs that may be one person "
            "are left out."
        )
        typer.echo(
            f"midpoint {fitted.scale.midpoint:.4f} (in use {self.model.midpoint:.4f}), "
            f"width {fitted.scale.width:.4f} (in use {self.model.width:.4f})"
        )
        typer.echo(
            "strangers that reach "
            + ", ".join(f"{level:g}: {rate:.2%}" for level, rate in fitted.rates.items())
            + "; meant are "
            + ", ".join(f"{rate:.2%}" for rate in RATES.values())
        )
        if fitted.halves:
            typer.echo(
                "at 0.5 in two halves of the people: {:.2%} and {:.2%}".format(*fitted.halves)
            )
        typer.echo("\nWith this scale:")
        print_preview(self.previews, in_use=self.in_use)

    def told(self, *, seed: int, simulated: bool) -> dict[str, Any]:
        """Return it for a program; `fit` is kept beside the scale when that is applied."""
        fitted = self.calibration
        return {
            "model": self.model.id,
            "in_use": {
                "version": self.model.scale_version,
                "midpoint": self.model.midpoint,
                "width": self.model.width,
                "threshold": self.in_use,
            },
            "midpoint": fitted.scale.midpoint,
            "width": fitted.scale.width,
            "fit": {
                "women": self.people.women,
                "men": self.people.men,
                "schools": self.people.schools,
                "pairs": fitted.pairs,
                "left_out": fitted.left_out,
                "rates": {f"{level:g}": rate for level, rate in fitted.rates.items()},
                "halves": list(fitted.halves) if fitted.halves else None,
                "seed": seed,
                "simulated": simulated,
            },
            "preview": [asdict(one) for one in self.previews],
        }

    def svg(self) -> str:
        """Return the distribution as an SVG document."""
        return histogram_svg(
            self.distances,
            self.calibration.scale,
            self.calibration.rates,
            f"{self.calibration.pairs} pairs of strangers of opposite gender, model "
            f"{self.model.id}",
        )


def print_scales(stored: Sequence[StoredScale]) -> None:
    """Print a line a version."""
    table = Table("version", "model", "midpoint", "width", "in use", "matches", "made", "by")
    table.box = box.SIMPLE
    for one in stored:
        table.add_row(*_row(one))
    Console(highlight=False).print(table)


def _row(scale: StoredScale) -> list[str]:
    pairs = f"{scale.created_at:%Y-%m-%d}"
    if scale.fit and "pairs" in scale.fit:
        pairs += f", {scale.fit['pairs']} pairs"
    return [
        str(scale.version),
        scale.model,
        f"{scale.midpoint:.4f}",
        f"{scale.width:.4f}",
        "yes" if scale.is_in_use else "",
        str(scale.matches),
        pairs,
        scale.actor or "",
    ]
