"""Trains the networks that come with wallprint: one command each, see README.md."""
