"""Reports: tables of several checkpoints in the formats of papers, and one page with everything in
it.
"""

from __future__ import annotations

from landscape.report.tables import Table

__all__ = ["Table"]
