"""What a training is: pure, and imports no other room. Control plane, worker and engine all work by it.

families/       a file of facts each: architectures, files, text encoders, targets, metadata
parameter_spec  what one parameter accepts, and how a value is refused
parameters      every training parameter with its default and limits
catalogue       base models on offer
preflight       what a base model's files say before a worker loads them
buckets         the shapes that pictures are trained at
plan            from pictures and parameters to buckets and exact steps
workload        how much a run does beside its steps
captions        the parts of a text: shuffle, dropout
prompts         the prompts of the previews
phases          what a run is doing, as the API says it
costs           FLOPs, bytes and memory of a job
calibration     from measured runs to times and memory
advice          whether a job fits, and what to change when it does not
"""
