"""Metrics of generative models."""
