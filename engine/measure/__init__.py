"""Where torch lives: models, inputs, execution paths, rounds, profiles and the child that runs them."""

import os
import warnings

# torch's profiler prints its own start and stop to standard error unless it is told not to before torch loads.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

# Said once by every nested path; the lab says itself what nested tensors are good for.
warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors is in prototype stage")
