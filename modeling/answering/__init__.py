"""Trained models that answer live: what is asked, who answers it, what came of it, and what was like it in training."""
