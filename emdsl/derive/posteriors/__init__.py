"""Latents in blocks: how the posterior of each is found, and expectations under it."""
