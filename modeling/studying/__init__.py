"""Several runs of one recipe as one job: folds that are each left out once, or growing shares of the posts."""
