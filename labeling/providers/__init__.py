from .gemini import GEMINI
from .offline import OFFLINE
from .openai_chat import OPENAI
from .provider import Parameter, Provider

__all__ = ["PROVIDERS", "Parameter", "Provider"]

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (OPENAI, GEMINI, OFFLINE)}
