"""``python -m tradebot`` is ``tradebot``."""

from tradebot.cli import main

if __name__ == "__main__":
    main()
