"""Pure: what predictions are worth, with intervals; what a model has to beat."""
