"""The population: genomes, the kernel that trades them, natural selection."""
