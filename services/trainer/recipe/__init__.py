"""What a training is, pure: parameters, base models, plan, costs. Imports no other room and no torch."""
