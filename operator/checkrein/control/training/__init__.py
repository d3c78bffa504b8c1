"""The planner of TrainingJobs."""
