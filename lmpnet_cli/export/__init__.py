"""Hand results and models on to other programs: file formats, HTML reports and ONNX models."""
