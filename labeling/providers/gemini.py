"""Google's Gemini."""

import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from labeling import answers

from .contract import Answer, Ask, Connection, Failed, Later, Stop, Usage
from .logprobs import Token, label_probabilities
from .provider import SHARED, Parameter, Parameters, Provider
from .waiting import asked_to_wait, error_details, retry_delay

if TYPE_CHECKING:
    from google import genai
    from google.genai import errors, types

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
BLOCKED = {
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE",
    "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR",
}  # fmt: skip


def connect(model: str, parameters: Parameters) -> Connection:
    import httpx2
    from google import genai
    from google.genai import types

    transport = httpx2.AsyncClient(timeout=parameters["timeout"], limits=httpx2.Limits(max_connections=None))
    options = types.HttpOptions(
        base_url=os.environ.get("GOOGLE_GEMINI_BASE_URL") or None,
        api_version="v1beta",  # the client's own choice is v1, which most other servers do not speak
        timeout=round(parameters["timeout"] * 1000),
        httpx_async_client=transport,  # else another HTTP library takes over where it happens to be installed
    )
    key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
    return Gemini(genai.Client(api_key=key, vertexai=False, http_options=options), transport, model, parameters)


class Gemini:
    def __init__(
        self, client: "genai.Client", transport: Any, model: str, parameters: Parameters
    ) -> None:  # the client must live as long as its `aio`: one that is collected closes its connections
        self.client, self.transport, self.model, self.parameters = client, transport, model, parameters

    async def ask(self, ask: Ask) -> Answer:
        import httpx2
        from google.genai import errors

        try:
            response = await self.client.aio.models.generate_content(**request(self.model, self.parameters, ask))
        except errors.APIError as error:
            raise failure(error, self.model) from error
        except httpx2.TimeoutException as error:
            raise Later("no answer in time") from error
        except httpx2.HTTPError as error:
            raise Later("no connection") from error
        except ValueError as error:  # not JSON, or not of the API's shape
            raise Later("not an answer of this API") from error
        return answer_to(ask, response)

    async def close(self) -> None:
        await self.client.aio.aclose()
        await self.transport.aclose()


def request(model: str, parameters: Parameters, ask: Ask) -> dict[str, Any]:
    from google.genai import types

    parts = [types.Part.from_text(text=ask.prompt)]
    if ask.image is not None:
        parts.append(types.Part.from_bytes(data=ask.image, mime_type=f"image/{ask.image_format}"))
    return {
        "model": model,
        "contents": [types.Content(role="user", parts=parts)],
        "config": config(parameters, ask),
    }


def config(parameters: Parameters, ask: Ask) -> "types.GenerateContentConfig":
    from google.genai import types

    return types.GenerateContentConfig(
        system_instruction=ask.system,
        response_mime_type="application/json",
        response_schema=schema(ask),
        max_output_tokens=parameters["max_output_tokens"],
        temperature=parameters["temperature"],
        thinking_config=thinking(parameters),
        response_logprobs=True if parameters["logprobs"] else None,
        logprobs=min(20, parameters["logprobs"]) or None,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def schema(ask: Ask) -> dict[str, Any]:
    """Gemini orders keys by its own rule unless told, and refuses to be told that no others are allowed."""
    told = answers.schema(ask.labels, ask.asks_incongruous)
    del told["additionalProperties"]
    return told | {"propertyOrdering": told["required"]}


def thinking(parameters: Parameters) -> "types.ThinkingConfig | None":
    """Models before Gemini 3 have a budget, later ones a level; to send both is an error."""
    from google.genai import types

    if parameters["thinking_level"]:
        return types.ThinkingConfig(thinking_level=types.ThinkingLevel(parameters["thinking_level"].upper()))
    if parameters["thinking_budget"] is not None:
        return types.ThinkingConfig(thinking_budget=parameters["thinking_budget"])
    return None


def answer_to(ask: Ask, response: "types.GenerateContentResponse") -> Answer:
    """A block or an answer cut short is no exception here, only a field; so is an answer outside the schema."""
    usage = usage_of(response)
    if response.prompt_feedback and response.prompt_feedback.block_reason:
        return Answer(None, "blocked", reason=response.prompt_feedback.block_reason.value, usage=usage)
    if not response.candidates:
        raise Later("not an answer of this API")
    candidate = response.candidates[0]
    ended, raw = candidate.finish_reason.value if candidate.finish_reason else "", text_of(candidate)
    if ended in BLOCKED:
        return Answer(None, "blocked", reason=ended, raw=raw, usage=usage)
    if ended == "MAX_TOKENS":
        return Answer(None, "cut off", raw=raw, usage=usage)
    return answers.completed(answers.read(raw, ask), usage, label_probabilities(tokens_of(candidate), ask.labels))


def text_of(candidate: "types.Candidate") -> str:
    parts = (candidate.content and candidate.content.parts) or []
    return "".join(part.text or "" for part in parts if not part.thought)


def usage_of(response: "types.GenerateContentResponse") -> Usage:
    """Thoughts are counted apart and billed as output."""
    used = response.usage_metadata
    if used is None or used.prompt_token_count is None:
        return Usage()
    return Usage(used.prompt_token_count, (used.candidates_token_count or 0) + (used.thoughts_token_count or 0))


def tokens_of(candidate: "types.Candidate") -> list[Token]:
    told = candidate.logprobs_result
    chosen, others = (told and told.chosen_candidates) or [], (told and told.top_candidates) or []
    return [
        Token(token.token or "", tuple((one.token or "", one.log_probability or 0.0) for one in [token, *top]))
        for token, top in zip(chosen, [other.candidates or [] for other in others], strict=False)
    ]


def failure(error: "errors.APIError", model: str) -> Exception:
    status, message = error.code or 0, " ".join(str(error.message or error.status or "").split())[:160]
    if sentence := hopeless(status, reasons(error), message, model):
        return Stop(sentence)
    if status in {408, 409, 425, 429, 499} or status >= 500:
        return Later("too many requests" if status == 429 else f"server error {status}", wait_of(error))
    return Failed(f"refused ({status}): {error.status or message}")


def hopeless(status: int, reasons: str, message: str, model: str) -> str:
    if status == 401 or "API_KEY_INVALID" in reasons or "API key not valid" in message:
        return f"Google does not accept the API key in {' or '.join(KEYS)}."
    if status == 404:
        return f"Google knows no model {model!r}. It says: {message}"
    if status in {402, 403} or (status == 400 and "FAILED_PRECONDITION" in reasons):
        return f"Google forbids it ({status}). It says: {message}"
    if status == 429 and "PerDay" in reasons:
        return "Google's daily quota for this key and model is used up; it is renewed at midnight, Pacific time."
    return ""


def reasons(error: "errors.APIError") -> str:
    return f"{error.status} {error_details(error.details)}"


def wait_of(error: "errors.APIError") -> float | None:
    """The client leaves both to its caller: the header and, more often sent, the RetryInfo in the body."""
    told = asked_to_wait(getattr(error.response, "headers", None) or {})
    return retry_delay(error.details) if told is None else told


GEMINI = Provider(
    name="gemini",
    title="Google Gemini",
    vision=True,
    open=connect,
    keys=KEYS,
    batch_factor=Decimal("0.5"),
    priced_as="google",
    parameters={
        "thinking_budget": Parameter(
            int, None, "Tokens to think with before Gemini 3; 0 switches it off, -1 leaves it to the model.", least=-1
        ),
        "thinking_level": Parameter(
            str, "", "How long to think first, from Gemini 3 on.", ("minimal", "low", "medium", "high")
        ),
        **SHARED,
    },
)
