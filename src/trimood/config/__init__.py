"""The configuration: all parameters and their checks, the experiments, and the plan of an experiment."""
