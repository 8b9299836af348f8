"""One torch thread for these tests: several on a busy machine make tiny products a hundred times slower."""

import torch

torch.set_num_threads(1)
