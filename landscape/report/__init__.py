"""Reports: tables of several checkpoints in formats for papers, and one page with everything."""

from __future__ import annotations

from landscape.report.tables import Table

__all__ = ["Table"]
