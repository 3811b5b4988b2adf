"""Reports about the similarity scale: what a calibration found, and what thresholds mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from automatch.cli.output.echo import echo
from automatch.cli.output.tables import Table, note, print_tables
from automatch.model.embedding_models import EmbeddingModel
from automatch.model.similarity import ComparablePeople, StoredScale, ThresholdPreview

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from automatch.search.calibration import Calibration


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A fitted scale beside the one in use, and its effect."""

    model: EmbeddingModel
    people: ComparablePeople
    distances: npt.NDArray[np.float64]
    calibration: Calibration
    threshold: float
    """The threshold in use."""
    previews: Sequence[ThresholdPreview]

    def print(self) -> None:
        """Print it for a person."""
        from automatch.cli.output.charts import histogram_lines
        from automatch.search.calibration import RATES

        fitted, people = self.calibration, self.people
        for line in histogram_lines(self.distances, fitted.scale):
            echo(line)
        echo("")
        echo(
            f"Fitted to {fitted.pairs} pairs of strangers ({people.women} women and {people.men} "
            f"men in {people.schools} schools); {fitted.left_out} pairs that may be the same "
            "person are left out."
        )
        echo(
            f"midpoint {fitted.scale.midpoint:.4f} (in use {self.model.midpoint:.4f}), "
            f"width {fitted.scale.width:.4f} (in use {self.model.width:.4f})"
        )
        echo(
            "strangers that reach "
            + ", ".join(f"{level:g}: {rate:.2%}" for level, rate in fitted.rates.items())
            + "; target "
            + ", ".join(f"{rate:.2%}" for rate in RATES.values())
        )
        if fitted.halves:
            echo("at 0.5 in two halves of the people: {:.2%} and {:.2%}".format(*fitted.halves))
        echo("\nWith this scale:")
        print_preview(self.previews, in_use=self.threshold)

    def as_json(self, *, seed: int, simulated: bool) -> dict[str, Any]:
        """Return it for a program; `fit` is stored with the scale when that is applied."""
        fitted = self.calibration
        return {
            "model": self.model.id,
            "in_use": {
                "version": self.model.scale_version,
                "midpoint": self.model.midpoint,
                "width": self.model.width,
                "threshold": self.threshold,
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
            "preview": [asdict(preview) for preview in self.previews],
        }

    def as_svg(self) -> str:
        """Return the distribution of distances as an SVG document."""
        from automatch.cli.output.charts import histogram_svg

        return histogram_svg(
            self.distances,
            self.calibration.scale,
            self.calibration.rates,
            f"{self.calibration.pairs} pairs of strangers of opposite gender, model "
            f"{self.model.id}",
        )


def print_scales(scales: Sequence[StoredScale]) -> None:
    """Print one line per version of the scale."""
    columns = ("version", "model", "midpoint", "width", "in use", "matches", "created", "by")
    rows = [
        (
            scale.version,
            scale.model,
            f"{scale.midpoint:.4f}",
            f"{scale.width:.4f}",
            "yes" if scale.is_in_use else "-",
            scale.matches,
            _created(scale),
            scale.actor or "-",
        )
        for scale in scales
    ]
    print_tables(Table(columns, rows, optional_columns=("width", "midpoint")))


def print_preview(previews: Sequence[ThresholdPreview], *, in_use: float | None) -> None:
    """Print one line per threshold."""
    if not previews:
        note(
            "No one with a photo can be found yet, so there is nothing to compare "
            "(`--simulated` includes the people of `automatch demo`)."
        )
        return
    rows = [
        (
            f"{preview.threshold:g}{' (in use)' if preview.threshold == in_use else ''}",
            f"{preview.matches:.1f}",
            f"{preview.median_matches:.0f}",
            f"{preview.without_any} of {preview.people}",
        )
        for preview in previews
    ]
    columns = ("threshold", "average matches", "median matches", "people with none")
    print_tables(Table(columns, rows))
    if previews[0].looked_at < previews[0].people:
        note(f"Based on a random sample of {previews[0].looked_at} people.")


def _created(scale: StoredScale) -> str:
    created = f"{scale.created_at:%Y-%m-%d}"
    if scale.fit and "pairs" in scale.fit:
        created += f", {scale.fit['pairs']} pairs"
    return created
