"""The outside world of the tagger: models, pictures, the dataset service and SQL."""
