"""The loop: freeze, train, measure, pre-label, review, audit; a round that does not help is rolled back."""
