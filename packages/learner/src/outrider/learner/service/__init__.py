"""The command `outrider-learner`, and the learners of a run that dials one."""
