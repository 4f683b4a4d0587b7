"""Operations of the OpenAPI document: what each route takes and answers."""

from typing import Any

Schema = dict[str, Any]
PROBLEMS = {
    "400": "The body cannot be read.",
    "401": "This predictor asks for a key, and the request shows none that is known.",
    "404": "No such model, or no such version of it, is served here.",
    "408": "The body did not arrive in time.",
    "409": "Several models are served: name one.",
    "413": "The body is too large.",
    "415": "A body of this type is not taken.",
    "422": "The rows do not fit the model's inputs: each field is named, with what was expected.",
    "503": "The model has no champion yet, or too many requests wait here: come again after `Retry-After` seconds.",
    "504": "The model did not answer in time.",
}
NAMES = {
    "Baton-Model": {"description": "The model that answered, percent-encoded.", "schema": {"type": "string"}},
    "Baton-Unseen": {
        "description": "Inputs with a value that training did not see, percent-encoded, with commas between them.",
        "schema": {"type": "string"},
    },
    "Baton-Version": {"description": "The version that answered.", "schema": {"type": "string"}},
}


def json_of(schema: Schema, **more: Any) -> Schema:
    """Return JSON as the content of a body or a response."""
    return {"application/json": {"schema": schema, **more}}


def told(summary: str, *, text: bool = False, **problems: str) -> Schema:
    """Return a GET of the state of things, as JSON or as text; `on404` says when the answer is a 404."""
    content = {"text/plain": {"schema": {"type": "string"}}} if text else json_of({"type": "object"})
    responses = {"200": {"description": "OK", "content": content}}
    told_problems = {code.removeprefix("on"): {"description": text} for code, text in problems.items()}
    return {"get": {"tags": ["state"], "summary": summary, "responses": responses | told_problems}}


def asked(tag: str, summary: str, content: Schema, answer: Schema, problem: str) -> Schema:
    """Return a POST of rows; `problem` names the schema of what is said of a request that failed."""
    failed = json_of({"$ref": f"#/components/schemas/{problem}"})
    responses = {"200": {"description": "The answer for each row.", "headers": NAMES, "content": answer}}
    responses |= {code: {"description": text, "content": failed} for code, text in PROBLEMS.items()}
    body = {"required": True, "content": content}
    return {"post": {"tags": [tag], "summary": summary, "requestBody": body, "responses": responses}}
