import warnings

with warnings.catch_warnings():  # what Ray's own imports do
    warnings.simplefilter("ignore")
    import ray.serve  # noqa: F401
