"""Training objectives: pure functions of `Scores`, one equation per file."""
