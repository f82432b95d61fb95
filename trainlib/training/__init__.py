"""The engine: what places a `TrainState` on a device and runs the pure steps over it."""
