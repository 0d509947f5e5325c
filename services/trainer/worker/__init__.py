"""The parts of a worker process.

trainer_client   the trainer as a worker sees it, patient with outages
inputs           pictures and checkpoint of a job, fetched and checked
training         the engine on a thread of its own, with its callbacks turned into state
delivery         files of finished epochs into the object store, then the report
runner           one job after the other
attempt          one job from its lease to its end
"""
