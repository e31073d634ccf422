"""Compares systems on one live OpenSearch. Imports the connector; nothing imports it."""
