"""The GRU core: how one layer computes a chunk, and its gradients: native, fused or lean."""
