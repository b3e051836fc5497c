"""Labels of a frozen dataset that look wrong to a model that had not seen them."""
