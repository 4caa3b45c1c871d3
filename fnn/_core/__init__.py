"""What knows nothing of networks: types, errors, checks, trees, dtypes, random bits, programs."""
