"""Runs over the ranks of an MPI launch."""
