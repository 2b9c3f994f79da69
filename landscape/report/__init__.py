"""Tables for papers and web pages."""

from __future__ import annotations

from landscape.report.tables import Table

__all__ = ["Table"]
