"""Looking into models and trainings."""
