"""What a call costs, beside a bare gRPC server that returns the same bytes in the same run."""
