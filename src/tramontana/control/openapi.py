"""The OpenAPI document: `python -m tramontana.control.openapi` writes docs/openapi.json, and a test compares the two.

Besides what FastAPI generates it holds the shape of errors and the WebSocket's frames, so that clients can generate their types.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from tramontana.control import frames
from tramontana.control.app import schema_app
from tramontana.control.problem import CODES, ProblemShape

REFERENCE = "#/components/schemas/{model}"
DESCRIPTION = """Byte strings are standard base64 with padding, times POSIX seconds. Errors are `application/problem+json` (RFC 9457) with a
stable `code`; 429 and 503 carry `Retry-After`. The order of things is in docs/protocols.md. `ClientFrame` and `ServerFrame` are the
frames of the WebSocket at `/api/v1/socket`."""


def complete_schema(app: FastAPI) -> dict[str, Any]:
    """The document of an application, with errors and frames."""
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, description=DESCRIPTION, routes=app.routes)
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own error shape, which this server never sends
        schemas.pop(name, None)
    for name, adapter in (
        ("ProblemShape", TypeAdapter(ProblemShape)),
        ("ClientFrame", TypeAdapter(frames.ClientFrame)),
        ("ServerFrame", TypeAdapter(frames.ServerFrame)),
    ):
        schema = adapter.json_schema(ref_template=REFERENCE, mode="serialization")
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    schemas["ProblemShape"]["properties"]["code"]["enum"] = sorted(CODES)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def document_text() -> str:
    """The document as it is kept in the repository."""
    return json.dumps(complete_schema(schema_app()), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the document to the path given, or docs/openapi.json below the current directory."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/openapi.json")
    path.write_text(document_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
