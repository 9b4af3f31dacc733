"""A trained model for others: plain weights, a program of torch's, ONNX; each is read back."""
