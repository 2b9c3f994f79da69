"""Training with a plan whose fields stand among the other arguments."""

from dataclasses import fields

from landscape import training

PLANNED = {field.name for field in fields(training.TrainingPlan)}


def train(module, data, test, optimizer, **options):
    """Call `landscape.training.train`, with the plan's fields gathered from the options."""
    planned = {name: options.pop(name) for name in PLANNED & options.keys()}
    plan = training.TrainingPlan(**planned)
    return training.train(module, data, test, optimizer, plan, **options)
