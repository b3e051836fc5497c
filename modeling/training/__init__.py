"""A run from its start to its result: settings, the process that trains, what it tells."""
