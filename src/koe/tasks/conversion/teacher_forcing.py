"""Teacher forcing: the share of a batch that is trained with the target's own prosody."""

from koe.tasks.conversion.params import TeacherForcingParams


def teacher_forced_share(forcing: TeacherForcingParams, step: int) -> float:
    """Share of a batch that is trained with the target's prosody in the optimizer step after `step` steps."""
    if step >= forcing.until_step:
        return forcing.end
    if step <= forcing.from_step:
        return forcing.start
    progress = (step - forcing.from_step) / (forcing.until_step - forcing.from_step)
    return forcing.start + (forcing.end - forcing.start) * progress
