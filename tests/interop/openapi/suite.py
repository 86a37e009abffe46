"""The OpenAPI document of the HTTP API: a validator reads it, and what it says of reading holds, field by field."""

import base64
import json
import os
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from harness import check, equal, main

API = os.environ.get("HTTP_URL", "http://127.0.0.1:15672") + "/api"


def ask(path, login=True):
    request = urllib.request.Request(API + path)
    if login:
        pair = base64.b64encode(b"guest:guest").decode()
        request.add_header("Authorization", f"Basic {pair}")
    try:
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
            if answer.headers.get_content_type() == "application/json":
                return answer.status, json.loads(body or "null")
            return answer.status, body
    except urllib.error.HTTPError as error:
        return error.code, None


@check
def the_document_is_valid():
    status, document = ask("/openapi.json", login=False)
    equal(status, 200)
    validate(document, cls=OpenAPIV31SpecValidator)


def strict(document):
    """The same, where an object has no field that is not described."""
    for name, schema in document["components"]["schemas"].items():
        # What is only a part of an object cannot know the others.
        if name != "Page":
            schema["additionalProperties"] = False
    return document


@check
def paths_without_parts_answer_as_they_say():
    _, document = ask("/openapi.json", login=False)
    strict(document)
    for path, item in document["paths"].items():
        if "{" in path or "get" not in item or path == "/index.html":
            continue
        operation = item["get"]
        status, answer = ask(path)
        assert str(status) in operation["responses"] or status == 204, f"{path}: {status}"
        content = operation["responses"]["200"].get("content", {})
        schema = content.get("application/json", {}).get("schema")
        if status == 200 and schema is not None:
            # References lead into the whole document.
            whole = {"components": document["components"], **schema}
            for error in Draft202012Validator(whole).iter_errors(answer):
                raise AssertionError(f"{path}: {error.message} at {list(error.absolute_path)}")
        if "security" not in operation:
            equal(ask(path, login=False)[0], 401, path)


main()
