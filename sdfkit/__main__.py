"""`python -m sdfkit`."""

from sdfkit.cli import main

main()
