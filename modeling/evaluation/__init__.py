"""How good is a predictor on posts whose labels are known: ask it, measure it, hold it against the others."""
