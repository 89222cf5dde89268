"""Results and models for other programs: file formats, HTML reports and ONNX."""
