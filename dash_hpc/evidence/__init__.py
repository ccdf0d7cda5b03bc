"""A network with probabilities, read out of time courses and a noisy prior."""
