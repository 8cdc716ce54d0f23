"""Innkeeper: an open, self-hosted, drop-in server for games written against the Hathora Cloud API."""

__version__ = "0.1.0"
