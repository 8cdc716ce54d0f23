"""``python -m innkeeper.cli`` is the command ``innkeeper``."""

from innkeeper.cli.main import main

main()
