-- A database per service; each service makes its own tables.
CREATE DATABASE fiveshot_dataset;
CREATE DATABASE fiveshot_tagger;
CREATE DATABASE fiveshot_trainer;
CREATE DATABASE fiveshot_registry;
CREATE DATABASE fiveshot_notifier;
