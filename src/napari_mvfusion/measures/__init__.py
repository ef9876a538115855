"""Measuring: scores with a ground truth, residuals without one, attenuation, brightness, profiles, and figures of them."""
