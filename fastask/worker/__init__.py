"""What is installed in a worker process."""
