"""From a run to files that fit: ONNX, quantised, checked rung by rung."""
