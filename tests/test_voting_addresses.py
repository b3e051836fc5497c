import pytest

from annotate.addresses import is_within


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("http://ollama:11434/v1", "ollama"),
        ("http://OLLAMA/v1", "ollama"),
        ("https://ollama/v1", "ollama:443"),
        ("http://ollama:11434/v1", "http://ollama:11434"),
        ("http://ollama:11434/v1/", "http://ollama:11434/v1"),
        ("http://ollama/v1", "http://ollama:80/v1/"),
        ("http://[::1]:11434/v1", "[::1]:11434"),
    ],
)
def test_an_address_is_within(address, entry):
    assert is_within(address, entry)


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("http://ollama.evil.example/v1", "ollama"),
        ("http://evil.example/ollama", "ollama"),
        ("http://ollama:5432/", "ollama:11434"),
        ("https://ollama:11434/v1", "http://ollama:11434/v1"),
        ("http://ollama:11434/v10", "http://ollama:11434/v1"),
        ("http://ollama:11434/v1/../admin", "http://ollama:11434/v1"),
        ("http://ollama:11434/v1/%2e%2e/admin", "http://ollama:11434/v1"),
        ("http://ollama@evil.example/v1", "ollama"),
        ("http://evil.example\\@ollama/v1", "ollama"),
        ("http://ollama\n.evil.example/", "ollama"),
        ("http://ollama。evil.example/", "ollama"),
        ("file:///etc/passwd", "ollama"),
        ("http://ollama:port/", "ollama"),
        ("http://ollama/", ""),
        ("", "ollama"),
    ],
)
def test_an_address_is_not_within(address, entry):
    assert not is_within(address, entry)
