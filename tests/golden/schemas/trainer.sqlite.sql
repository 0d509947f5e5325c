CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE project_shares (
    project VARCHAR(200) NOT NULL,
    served_at BIGINT, waiting INTEGER DEFAULT '0' NOT NULL, running INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (project)
);

CREATE TABLE epochs (
    job VARCHAR(200) NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    step BIGINT NOT NULL,
    loss FLOAT NOT NULL,
    files TEXT NOT NULL,
    previews TEXT NOT NULL,
    evaluation TEXT,
    reload_difference FLOAT NOT NULL,
    train_seconds FLOAT NOT NULL,
    checkpoint TEXT NOT NULL,
    create_time BIGINT NOT NULL, pretended BOOLEAN DEFAULT 0 NOT NULL, labels TEXT DEFAULT '{}' NOT NULL,
    PRIMARY KEY (job, number),
    FOREIGN KEY(job) REFERENCES training_jobs (name)
);

CREATE TABLE metric_chunks (
    job VARCHAR(200) NOT NULL,
    first_step BIGINT NOT NULL,
    last_step BIGINT NOT NULL,
    points BLOB NOT NULL,
    PRIMARY KEY (job, last_step),
    FOREIGN KEY(job) REFERENCES training_jobs (name)
);

CREATE TABLE workers (
    worker_id VARCHAR(100) NOT NULL,
    base_models TEXT NOT NULL,
    device TEXT NOT NULL,
    seen_at BIGINT NOT NULL, device_memory_bytes BIGINT DEFAULT '0' NOT NULL, families TEXT DEFAULT '[]' NOT NULL, mixed_precisions TEXT DEFAULT '[]' NOT NULL, skill INTEGER, takes_own BOOLEAN,
    PRIMARY KEY (worker_id)
);

CREATE TABLE events (
    position INTEGER NOT NULL,
    id VARCHAR(36) NOT NULL,
    aggregate VARCHAR(512) NOT NULL,
    sequence BIGINT NOT NULL,
    type VARCHAR(128) NOT NULL,
    subject VARCHAR(512) NOT NULL,
    source VARCHAR(512) NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    published_at BIGINT, traceparent VARCHAR(55) DEFAULT '' NOT NULL,
    PRIMARY KEY (position),
    CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence),
    UNIQUE (id)
);

CREATE TABLE idempotency_keys (
    project VARCHAR(64) NOT NULL,
    method VARCHAR(64) NOT NULL,
    request_id VARCHAR(128) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    resource_name VARCHAR(512) NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, method, request_id)
);

CREATE TABLE "training_jobs" (
    name VARCHAR(200) NOT NULL,
    project VARCHAR(200) NOT NULL,
    display_name TEXT NOT NULL,
    base_model VARCHAR(100) NOT NULL,
    dataset_version VARCHAR(300) NOT NULL,
    dataset_digest VARCHAR(64) NOT NULL,
    image_count INTEGER NOT NULL,
    trigger_word TEXT NOT NULL,
    parameters TEXT NOT NULL,
    steps_per_epoch BIGINT NOT NULL,
    samples_per_step INTEGER NOT NULL,
    total_steps BIGINT NOT NULL,
    priority INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    progress TEXT NOT NULL,
    step BIGINT NOT NULL,
    epochs_completed INTEGER NOT NULL,
    error TEXT,
    recommended_epoch INTEGER NOT NULL,
    recommendation_reason TEXT NOT NULL,
    attempts TEXT NOT NULL,
    lease_token VARCHAR(64),
    lease_worker VARCHAR(100),
    lease_expires_at BIGINT,
    failures INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    stop_requested BOOLEAN NOT NULL,
    base_previews TEXT NOT NULL,
    progress_told_at BIGINT,
    seconds_per_sample FLOAT NOT NULL,
    revision INTEGER NOT NULL,
    queued_at BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    update_time BIGINT NOT NULL,
    last_event BIGINT NOT NULL,
    last_metric_step BIGINT NOT NULL, thinned BOOLEAN DEFAULT 0 NOT NULL, labels TEXT DEFAULT '{}' NOT NULL, state_time BIGINT, notices TEXT DEFAULT '[]' NOT NULL, traceparent VARCHAR(55) DEFAULT '' NOT NULL, memory_bytes BIGINT DEFAULT '0' NOT NULL, memory_low_bytes BIGINT DEFAULT '0' NOT NULL, memory_class INTEGER DEFAULT '0' NOT NULL, mixed_precision VARCHAR(8) DEFAULT '' NOT NULL, entry VARCHAR(100) DEFAULT '' NOT NULL, needs_skill INTEGER DEFAULT '0' NOT NULL, initial_lora TEXT, datasets TEXT DEFAULT '[]' NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE measurements (
    id INTEGER NOT NULL,
    device VARCHAR(200) NOT NULL,
    base_model VARCHAR(100) NOT NULL,
    measurement TEXT NOT NULL,
    measured_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE attempt_times (
    job VARCHAR(200) NOT NULL,
    number INTEGER NOT NULL,
    start_time BIGINT NOT NULL,
    project VARCHAR(200) NOT NULL,
    end_time BIGINT,
    PRIMARY KEY (job, number, start_time)
);

CREATE TABLE audit_outbox (
    id VARCHAR(36) NOT NULL,
    revision INTEGER NOT NULL,
    time BIGINT NOT NULL,
    project VARCHAR(63) NOT NULL,
    principal VARCHAR(300) NOT NULL,
    role VARCHAR(20) NOT NULL,
    method VARCHAR(200) NOT NULL,
    resource VARCHAR(512) NOT NULL,
    code VARCHAR(30) NOT NULL,
    reason VARCHAR(64) NOT NULL,
    request_id VARCHAR(128) NOT NULL,
    address VARCHAR(64) NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (id, revision)
);

CREATE TABLE preview_requests (
    name VARCHAR(200) NOT NULL,
    project VARCHAR(200) NOT NULL,
    base_model VARCHAR(100) NOT NULL,
    state VARCHAR(16) NOT NULL,
    live_job VARCHAR(200) NOT NULL,
    drawing TEXT NOT NULL,
    cells TEXT NOT NULL,
    error TEXT,
    attempts TEXT NOT NULL,
    lease_token VARCHAR(64),
    lease_worker VARCHAR(100),
    lease_expires_at BIGINT,
    wanted_until BIGINT,
    revision INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    expire_time BIGINT NOT NULL, entry VARCHAR(100) DEFAULT '' NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE base_models (
    name VARCHAR(200) NOT NULL,
    project VARCHAR(200) NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    license TEXT NOT NULL,
    labels TEXT NOT NULL,
    file_name TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    header_bytes INTEGER NOT NULL,
    header_sha256 VARCHAR(64) NOT NULL,
    precision VARCHAR(8) NOT NULL,
    families TEXT NOT NULL,
    based_on VARCHAR(100) NOT NULL,
    family VARCHAR(60) NOT NULL,
    state VARCHAR(16) NOT NULL,
    parts TEXT NOT NULL,
    error TEXT,
    attempts TEXT NOT NULL,
    lease_token VARCHAR(64),
    lease_worker VARCHAR(100),
    lease_expires_at BIGINT,
    revision INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE base_model_meter (
    project VARCHAR(200) NOT NULL,
    hour BIGINT NOT NULL,
    PRIMARY KEY (project)
);

CREATE TABLE schema_state (
    id INTEGER NOT NULL,
    revision VARCHAR(32) NOT NULL,
    oldest_code VARCHAR(32) NOT NULL,
    release VARCHAR(64) NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_events_unpublished ON events (published_at, position);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE INDEX ix_jobs_queue ON training_jobs (project, priority, queued_at, name) WHERE state = 'QUEUED';

CREATE INDEX ix_jobs_created ON training_jobs (project, create_time, name);

CREATE INDEX ix_jobs_pace ON training_jobs (base_model, end_time);

CREATE INDEX ix_jobs_queue_model ON training_jobs (project, base_model, priority, queued_at, name) WHERE state = 'QUEUED';

CREATE INDEX ix_jobs_active ON training_jobs (project) WHERE lease_token IS NOT NULL;

CREATE INDEX ix_jobs_unthinned ON training_jobs (end_time) WHERE end_time IS NOT NULL AND NOT thinned;

CREATE INDEX ix_measurements_device ON measurements (device, base_model, measured_at);

CREATE INDEX ix_attempt_times_project ON attempt_times (project, end_time);

CREATE INDEX ix_jobs_queue_memory ON training_jobs (project, memory_class, priority DESC, queued_at, name) WHERE state = 'QUEUED';

CREATE INDEX ix_previews_unended ON preview_requests (project) WHERE end_time IS NULL;

CREATE INDEX ix_previews_created ON preview_requests (project, create_time, name);

CREATE INDEX ix_previews_expire ON preview_requests (expire_time);

CREATE INDEX ix_base_models_unready ON base_models (update_time) WHERE state = 'UPLOADING' OR state = 'CHECKING';

CREATE INDEX ix_base_models_created ON base_models (project, create_time, name);

CREATE INDEX ix_jobs_own_model ON training_jobs (base_model) WHERE entry <> '';

CREATE INDEX ix_shares_turn ON project_shares (running, served_at, project) WHERE waiting > 0;

CREATE TRIGGER count_jobs_insert AFTER INSERT ON training_jobs FOR EACH ROW WHEN (NEW.state = 'QUEUED' OR NEW.lease_token IS NOT NULL) BEGIN UPDATE project_shares SET waiting = waiting + CASE WHEN NEW.state = 'QUEUED' THEN 1 ELSE 0 END, running = running + CASE WHEN NEW.lease_token IS NOT NULL THEN 1 ELSE 0 END WHERE project = NEW.project; END;

CREATE TRIGGER count_jobs_update AFTER UPDATE OF state, lease_token ON training_jobs FOR EACH ROW WHEN ((OLD.state = 'QUEUED') <> (NEW.state = 'QUEUED') OR (OLD.lease_token IS NULL) <> (NEW.lease_token IS NULL)) BEGIN UPDATE project_shares SET waiting = waiting + CASE WHEN NEW.state = 'QUEUED' THEN 1 ELSE 0 END - CASE WHEN OLD.state = 'QUEUED' THEN 1 ELSE 0 END, running = running + CASE WHEN NEW.lease_token IS NOT NULL THEN 1 ELSE 0 END - CASE WHEN OLD.lease_token IS NOT NULL THEN 1 ELSE 0 END, served_at = CASE WHEN OLD.lease_token IS NULL AND NEW.lease_token IS NOT NULL THEN NEW.update_time ELSE served_at END WHERE project = NEW.project; END;

CREATE TRIGGER count_jobs_delete AFTER DELETE ON training_jobs FOR EACH ROW WHEN (OLD.state = 'QUEUED' OR OLD.lease_token IS NOT NULL) BEGIN UPDATE project_shares SET waiting = waiting - CASE WHEN OLD.state = 'QUEUED' THEN 1 ELSE 0 END, running = running - CASE WHEN OLD.lease_token IS NOT NULL THEN 1 ELSE 0 END WHERE project = OLD.project; END;

INSERT INTO alembic_version (version_num) VALUES ('0019');

INSERT INTO schema_state (id, revision, oldest_code, release) VALUES (1, '0019', '0002', '0.1.0');
