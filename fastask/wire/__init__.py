"""What travels: arguments, results and errors, in JSON."""
