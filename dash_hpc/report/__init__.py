"""What a study found: a table, figures, and one HTML page that stands alone."""

from __future__ import annotations

from dash_hpc.report.html import write_report
from dash_hpc.report.summary import summary_rows, summary_table

__all__ = ["summary_rows", "summary_table", "write_report"]
