"""How players reach this machine, beside the API and the games' own ports."""
