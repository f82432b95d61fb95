"""The proof: whole trajectories of trainlib's rules beside those of Keras, PyTorch and Optax."""
