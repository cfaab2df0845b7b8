"""`python -m trainer_client` is the command `rubricd`."""

import sys

from trainer_client.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
