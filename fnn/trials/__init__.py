"""Many trainings: sweeps and ensembles."""
