"""What can be set: every parameter, the plan that an experiment resolves to, and which experiments there are."""
