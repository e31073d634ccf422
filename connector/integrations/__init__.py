"""Integrations with other frameworks, one module each, imported on demand."""
