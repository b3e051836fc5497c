from . import gemini_batch, openai_batch
from .batching import Batching
from .gemini import GEMINI
from .offline import OFFLINE
from .openai_chat import OPENAI
from .provider import Parameter, Provider

__all__ = ["BATCHING", "PROVIDERS", "Batching", "Parameter", "Provider"]

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (OPENAI, GEMINI, OFFLINE)}
BATCHING: dict[str, Batching] = {"openai": openai_batch.BATCHING, "gemini": gemini_batch.BATCHING}
