"""Maintenance: what a worker does at intervals, by subject, and which worker does it."""

from automatch.worker.maintenance.runner import MaintenanceRunner

__all__ = ["MaintenanceRunner"]
