"""OpenAI, and whatever speaks its chat completions: vLLM, Ollama, llama.cpp."""

import base64
import os
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from labeling import answers

from .contract import Abstention, Answer, Ask, Connection, Failed, Later, Stop, Usage
from .logprobs import Token, label_probabilities
from .provider import SHARED, Parameter, Parameters, Provider
from .waiting import asked_to_wait

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion, ChatCompletionTokenLogprob
    from openai.types.chat.chat_completion import Choice

# A server that a project names never sees OpenAI's own key; this one is for it.
KEY_OF_OTHERS = "COMPATIBLE_API_KEY"
OUT_OF_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"}
FILTERED = {"content_filter", "content_policy_violation", "invalid_image_content_policy"}
ABSTENTIONS: dict[str, Abstention] = {"length": "cut off", "content_filter": "blocked"}


def connect(model: str, parameters: Parameters) -> Connection:
    import openai

    base_url = parameters["base_url"] or None
    key = os.environ.get(KEY_OF_OTHERS if base_url else "OPENAI_API_KEY") or "none"
    client = openai.AsyncOpenAI(api_key=key, base_url=base_url, timeout=parameters["timeout"], max_retries=0)
    return Chat(client, model, parameters)


class Chat:
    def __init__(self, client: "openai.AsyncOpenAI", model: str, parameters: Parameters) -> None:
        self.client, self.model, self.parameters = client, model, parameters

    async def ask(self, ask: Ask) -> Answer:
        import openai

        try:
            completion = await self.client.chat.completions.create(**request(self.model, self.parameters, ask))
        except openai.APITimeoutError as error:
            raise Later("no answer in time") from error
        except openai.APIStatusError as error:
            return refused(error, self.model, str(self.client.base_url))
        except (openai.OpenAIError, ValueError) as error:  # ValueError: half an answer, not even JSON
            raise Later("no connection" if isinstance(error, openai.APIConnectionError) else "no answer") from error
        return answer_to(ask, completion)

    async def close(self) -> None:
        await self.client.close()


def request(model: str, parameters: Parameters, ask: Ask) -> dict[str, Any]:
    """What `create` takes; also one request of a batch job."""
    asked: dict[str, Any] = {
        "model": model,
        "messages": list(messages(ask, parameters["detail"])),
        "temperature": parameters["temperature"],
        "reasoning_effort": parameters["reasoning_effort"] or None,
        # Only OpenAI itself has renamed it, and its newer models refuse the old name.
        "max_tokens" if parameters["base_url"] else "max_completion_tokens": parameters["max_output_tokens"],
        "response_format": answer_format(parameters["answer_format"], ask),
        "extra_body": parameters["extra"] or None,
    }
    if parameters["logprobs"]:
        asked |= {"logprobs": True, "top_logprobs": min(20, parameters["logprobs"])}
    return {key: value for key, value in asked.items() if value is not None}


def messages(ask: Ask, detail: str) -> Iterator[dict[str, Any]]:
    """In the words of its training, the picture comes first, and there may be no system turn."""
    if ask.system:
        yield {"role": "system", "content": ask.system}
    parts = list(content(ask, detail))
    yield {"role": "user", "content": parts[::-1] if ask.bare else parts}


def content(ask: Ask, detail: str) -> Iterator[dict[str, Any]]:
    yield {"type": "text", "text": ask.prompt}
    if ask.image is not None:
        data = base64.b64encode(ask.image).decode()
        yield {
            "type": "image_url",
            "image_url": {"url": f"data:image/{ask.image_format};base64,{data}", "detail": detail},
        }


def answer_format(name: str, ask: Ask) -> dict[str, Any] | None:
    if ask.bare:
        return None
    if name == "json_schema":
        schema = answers.schema(ask.labels, ask.asks_incongruous)
        return {"type": name, "json_schema": {"name": "vote", "strict": True, "schema": schema}}
    return {"type": name} if name != "text" else None


def answer_to(ask: Ask, completion: "ChatCompletion") -> Answer:
    choices = getattr(completion, "choices", None)
    if not choices:  # a page of HTML, or {"error": ...} with status 200
        raise Later("not an answer of this API")
    choice, usage = choices[0], usage_of(completion)
    refusal, raw = getattr(choice.message, "refusal", None), choice.message.content or ""
    if refusal:
        return Answer(None, "refused", reason=refusal, raw=refusal, usage=usage)
    if abstained := ABSTENTIONS.get(choice.finish_reason):
        return Answer(None, abstained, raw=raw, usage=usage)
    read = answers.read(raw, ask)
    return answers.completed(read, usage, label_probabilities(tokens_of(choice), ask.labels, ask.bare))


def usage_of(completion: "ChatCompletion") -> Usage:
    used = completion.usage
    return Usage(used.prompt_tokens, used.completion_tokens) if used else Usage()


def tokens_of(choice: "Choice") -> list[Token]:
    told = (choice.logprobs and choice.logprobs.content) or []
    return [Token(token.token, ((token.token, token.logprob), *others_at(token))) for token in told]


def others_at(token: "ChatCompletionTokenLogprob") -> Iterator[tuple[str, float]]:
    return ((other.token, other.logprob) for other in token.top_logprobs or [])


def refused(error: "openai.APIStatusError", model: str, server: str) -> Answer:
    status, codes = error.status_code, {error.code or "", error.type or ""}
    if codes & FILTERED:
        return Answer(None, "blocked", reason=short(error.message), raw=short(error.message))
    if sentence := hopeless(status, codes, model, server):
        raise Stop(sentence + ("" if status == 401 else f" It says: {short(error.message)}")) from error
    if status in {408, 409, 425, 429} or status >= 500:
        cause = "too many requests" if status == 429 else f"server error {status}"
        raise Later(cause, asked_to_wait(error.response.headers)) from error
    raise Failed(f"refused ({status}): {short(error.code or error.message)}") from error


def hopeless(status: int, codes: set[str], model: str, server: str) -> str:
    if status == 402 or codes & OUT_OF_MONEY:
        return f"The account at {server} has no money or quota left."
    if status == 404 or "model_not_found" in codes:
        return f"{server} knows no model {model!r}."
    if status == 401 or "invalid_api_key" in codes:
        return f"{server} does not accept the API key."
    return f"{server} forbids it (403)." if status == 403 else ""


def short(message: str) -> str:
    return " ".join(message.split())[:160]


OPENAI = Provider(
    name="openai",
    title="OpenAI or compatible",
    vision=True,
    open=connect,
    keys=("OPENAI_API_KEY",),
    batch_factor=Decimal("0.5"),
    priced_as="openai",
    parameters={
        "base_url": Parameter(str, "", "A compatible server's address, such as http://localhost:11434/v1."),
        "detail": Parameter(str, "low", "How closely the picture is looked at.", ("low", "high", "auto")),
        "answer_format": Parameter(
            str, "json_schema", "What holds the answer to its form.", ("json_schema", "json_object", "text")
        ),
        "words": Parameter(
            str,
            "",
            "Of a model that was trained here: the prompt up to $post, and then the post by itself.",
            ("trained", "trained in one turn"),
        ),
        "reasoning_effort": Parameter(
            str, "", "How long to think first.", ("none", "minimal", "low", "medium", "high", "xhigh")
        ),
        "extra": Parameter(dict, {}, "More of the request's body, for servers with options of their own."),
        **SHARED,
    },
)
