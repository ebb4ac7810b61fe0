"""The form of the annex of ``report.json``: clauses for a tender."""

from __future__ import annotations

from rekadapter.evaluation.result_base import Result


class ClausePart(Result):
    """Words of a clause, or what fills a blank of it: then ``key`` says where in the report it
    stands. ``text`` None: nobody gave it. ``proposal``: a default that nobody stated."""

    text: str | None
    key: str | None
    proposal: bool


class ClauseResult(Result):
    """One clause, and what asks for it."""

    title: str
    parts: tuple[ClausePart, ...]
    source: str
