"""The authority of a cell: makes, renews and revokes the certificates its programs know each other by."""

from __future__ import annotations

from tidegate.app.certificates.authority import Authority, opened_authority
from tidegate.app.certificates.listed import Listed, Standing, listed, listed_folder

__all__ = ["Authority", "Listed", "Standing", "listed", "listed_folder", "opened_authority"]
