"""Agents born by policies: the decision problem, who decides, and how the deciders learn."""
