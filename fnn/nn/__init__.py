"""Networks: activations, initializers and layers, each as pure functions with a `Layer` constructor beside them."""
