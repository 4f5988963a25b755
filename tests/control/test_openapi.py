"""The API document in the repository is the one that the code gives, and it is valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from openapi_spec_validator import validate

from tramontana.control.openapi import document_text
from tramontana.control.problem import CODES
from tramontana.precedence import Precedence, PrecedenceLabel

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text("utf-8") == document_text(), "run `python -m tramontana.control.openapi`"


def test_the_document_is_valid_and_complete() -> None:
    document = json.loads(document_text())
    validate(document)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) >= 25
    for operation in operations:
        assert operation["summary"]
        refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert {"422", "429", "500", "503"} <= refusals.keys()
        for answer in refusals.values():
            assert list(answer["content"]) == ["application/problem+json"]
        if operation["tags"] != ["entry"]:
            assert operation["security"]
            assert "401" in refusals
    assert {"ClientFrame", "ServerFrame", "Deliver", "ProblemShape"} <= document["components"]["schemas"].keys()
    assert document["components"]["schemas"]["ProblemShape"]["properties"]["code"]["enum"] == sorted(CODES)


def test_precedence_has_the_levels_of_rfc_4412() -> None:
    assert get_args(PrecedenceLabel) == tuple(level.label for level in Precedence)


def test_every_code_is_documented_somewhere() -> None:
    protocol = (DOCUMENT.parent / "protocols.md").read_text("utf-8")
    document = json.loads(document_text())
    described = json.dumps(document["paths"])
    everywhere = {"method_not_allowed", "origin_refused"}  # of no single route
    assert {code for code in CODES if f"`{code}`" not in described} == everywhere
    assert "`epoch_taken`" in protocol
