"""TRL, imported without its warnings: where vLLM is installed TRL imports it, and both warn of each other and of torch.
Import this before anything that imports TRL."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl import GRPOTrainer

__all__ = ["GRPOTrainer"]
