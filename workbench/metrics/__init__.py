"""How far samples are from the truth: distances, their noise floors, mode coverage, the virial."""
