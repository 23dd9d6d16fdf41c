"""The report of a comparison: its results as data, and one self-contained HTML page."""

from retemper.report.page import write_page
from retemper.report.results import REFERENCE, Network, Outcome, Results, Row, Share, network_from, network_from_json

__all__ = [
    "REFERENCE",
    "Network",
    "Outcome",
    "Results",
    "Row",
    "Share",
    "network_from",
    "network_from_json",
    "write_page",
]
