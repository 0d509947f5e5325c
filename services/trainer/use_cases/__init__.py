"""The trainer's verbs.

planning     what a request for a job comes to, checked: parameters, pictures, steps, preview prompts
creating     CreateTrainingJob
estimating   EstimateTrainingJob, and the measured runs that it rests on
steering     cancel, pause, resume, stop, retry, extend
reading      base models, jobs, points, epochs, files
watching     a job's events, replayed and live
working      what workers call
offering     AcquireJob: a job, or what to measure
upkeep       leases that ran out, objects that nothing refers to
"""
