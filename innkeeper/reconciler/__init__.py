"""The loop that brings what runs closer to what is wanted: observe, load, decide, perform, record."""
