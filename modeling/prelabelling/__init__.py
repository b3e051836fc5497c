"""A model asked about posts without a label: what a threshold would settle, settling it, and taking it back."""
