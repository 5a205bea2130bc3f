"""How fast the operator is with many models: a real control plane, kwok's pods, and a bare loop to compare with."""
