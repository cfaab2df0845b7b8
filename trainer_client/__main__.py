"""Runs the command `rubricd` as `python -m trainer_client`."""

import sys

from trainer_client.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
