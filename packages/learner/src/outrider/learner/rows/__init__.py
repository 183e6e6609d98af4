"""Fragments as tensors, and the orders and portions in which they are trained on."""
