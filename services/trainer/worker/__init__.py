"""The parts of a worker process.

app              starts the process
runner           one job after the other
attempt          one job from its lease to its end
trainer_client   the trainer as a worker sees it, patient with outages
wire             the worker's own records, from and to the trainer's messages
inputs           pictures and checkpoint of a job, fetched and checked
pictures         originals decoded for the engine
training         the engine on a thread of its own, with its callbacks turned into state
measuring        what a run took
probing          short runs of base models that nobody has measured, while nothing waits
delivery         files of finished epochs into the object store, then the report
latent_cache     encoded pictures kept between jobs, within a limit
"""
