"""The texts that people read, in English and in French."""
