"""What the endpoint takes and gives, as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from raytagger.bundle.texts import join_fields

MAX_TEXT_BYTES = 1_000_000
MAX_K = 100


def _check_text(text: str) -> str:
    # As the corpus does: a document of white space alone is rejected there too.
    if not text.strip():
        raise PydanticCustomError("empty_text", "the text is empty")
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        facts = {"size": size, "limit": MAX_TEXT_BYTES}
        raise PydanticCustomError("too_long", "the text has {size} bytes; at most {limit} are read", facts)
    return text


def _text_or_fields(value: Any, check_string: ValidatorFunctionWrapHandler) -> str | dict[str, str]:
    if not isinstance(value, dict):
        return _check_text(check_string(value))
    fields = {check_string(name): check_string(part) for name, part in value.items() if part is not None}
    _check_text(join_fields(fields.values()))
    return fields


# A union would tell of both kinds where one is wrong.
SCHEMA = {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": ["string", "null"]}}]}
Text = Annotated[str, WrapValidator(_text_or_fields), WithJsonSchema(SCHEMA)]


class TagRequest(BaseModel):
    """`POST /v1/tag`: texts, and how many labels each is to get."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"texts": ["Prune plums in high summer."], "k": 5}]},
    )

    texts: list[Text] = Field(
        min_length=1, description="At most serve.max_texts of them: each whole, or the bundle's fields by name."
    )
    k: int | None = Field(
        default=None, ge=1, le=MAX_K, description="Labels a text; by default as many as may be its tags."
    )
    allow: list[str] | None = Field(default=None, description="Only these labels may be answered.")
    deny: list[str] = Field(default=[], description="These labels are not answered.")
    below: str | None = Field(default=None, description="Only this label and those below it, by their parents.")


class TagModel(BaseModel):
    """A label that fits a text."""

    label_id: str
    title: str
    score: float
    fused: list[str] | None = Field(
        default=None, description="Of an unseen label: the seen labels whose sum it was scored by (label fusion)."
    )
    proven: bool | None = Field(default=None, description="No other sum of the text's seen labels comes nearer.")


class ResultModel(BaseModel):
    """The labels of one text, best first."""

    tags: list[TagModel]
    blank: bool = Field(
        default=False, description="Nothing of the text is known, such as no word of it: it has no tags."
    )


class TagAnswer(BaseModel):
    """A result for each text, in the order of the request, and which bundle and label set gave it."""

    bundle: str
    label_set: str
    results: list[ResultModel]


class Health(BaseModel):
    """`GET /healthz`: what is served."""

    status: str
    bundle: str
    labels: int
    fields: list[str]
    licences: dict[str, Any]


class Flaw(BaseModel):
    """What is wrong with a request, and where."""

    loc: list[str | int]
    msg: str
    type: str


class Refusal(BaseModel):
    """The body of a 422."""

    detail: list[Flaw]
