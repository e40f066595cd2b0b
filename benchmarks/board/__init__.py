"""The board of `make bench`: what a benchmark found, where it was found, and the tables made of it."""
