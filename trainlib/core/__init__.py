"""The base of the pure core: types, trees, norms, argument checks, conventions."""
