"""A cheap first stage answers where it is sure, and a run is asked about the rest."""
