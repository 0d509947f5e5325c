CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE models (
    project VARCHAR(63) NOT NULL,
    model_id VARCHAR(63) NOT NULL,
    uid VARCHAR(36) NOT NULL,
    display_name TEXT NOT NULL,
    search_name TEXT NOT NULL,
    description TEXT NOT NULL,
    last_version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL, labels TEXT DEFAULT '{}' NOT NULL,
    PRIMARY KEY (project, model_id)
);

CREATE TABLE model_tags (
    project VARCHAR(63) NOT NULL,
    model_id VARCHAR(63) NOT NULL,
    position INTEGER NOT NULL,
    tag VARCHAR(60) NOT NULL,
    PRIMARY KEY (project, model_id, position),
    FOREIGN KEY(project, model_id) REFERENCES models (project, model_id) ON DELETE CASCADE
);

CREATE TABLE model_versions (
    project VARCHAR(63) NOT NULL,
    model_id VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    description TEXT NOT NULL,
    trigger_word TEXT NOT NULL,
    loss DOUBLE NOT NULL,
    rank INTEGER NOT NULL,
    alpha DOUBLE NOT NULL,
    preview_prompts TEXT NOT NULL,
    model_card TEXT NOT NULL,
    dataset_version VARCHAR(300) NOT NULL,
    dataset_digest VARCHAR(64) NOT NULL,
    training_job VARCHAR(300) NOT NULL,
    epoch VARCHAR(300) NOT NULL,
    base_model VARCHAR(100) NOT NULL,
    step BIGINT NOT NULL,
    parameters_sha256 VARCHAR(64) NOT NULL,
    create_time BIGINT NOT NULL, labels TEXT DEFAULT '{}' NOT NULL, uploaded_file VARCHAR(255) DEFAULT '' NOT NULL, pretended BOOLEAN DEFAULT 0 NOT NULL, initial_lora VARCHAR(300) DEFAULT '' NOT NULL, datasets TEXT DEFAULT '[]' NOT NULL,
    PRIMARY KEY (project, model_id, number),
    FOREIGN KEY(project, model_id) REFERENCES models (project, model_id) ON DELETE CASCADE
);

CREATE TABLE version_files (
    project VARCHAR(63) NOT NULL,
    model_id VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    file_id VARCHAR(60) NOT NULL,
    file_name VARCHAR(255) NOT NULL,
    content_type VARCHAR(100) NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    object_key VARCHAR(1000) NOT NULL,
    PRIMARY KEY (project, model_id, number, position),
    FOREIGN KEY(project, model_id, number) REFERENCES model_versions (project, model_id, number) ON DELETE CASCADE,
    UNIQUE (object_key)
);

CREATE TABLE model_aliases (
    project VARCHAR(63) NOT NULL,
    model_id VARCHAR(63) NOT NULL,
    alias VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (project, model_id, alias),
    FOREIGN KEY(project, model_id, number) REFERENCES model_versions (project, model_id, number) ON DELETE CASCADE
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

CREATE TABLE audit_records (
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
    published_at BIGINT,
    PRIMARY KEY (id)
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
    published_at BIGINT,
    traceparent VARCHAR(55) DEFAULT '' NOT NULL,
    PRIMARY KEY (position),
    CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence),
    UNIQUE (id)
);

CREATE TABLE schema_state (
    id INTEGER NOT NULL,
    revision VARCHAR(32) NOT NULL,
    oldest_code VARCHAR(32) NOT NULL,
    release VARCHAR(64) NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_models_create_time ON models (project, create_time, model_id);

CREATE INDEX ix_model_tags_tag ON model_tags (project, tag);

CREATE INDEX ix_model_versions_epoch ON model_versions (epoch);

CREATE INDEX ix_model_aliases_number ON model_aliases (project, model_id, number);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE INDEX ix_audit_records_project ON audit_records (project, time, id);

CREATE INDEX ix_audit_records_time ON audit_records (time, id);

CREATE INDEX ix_audit_records_unpublished ON audit_records (published_at, time);

CREATE INDEX ix_events_unpublished ON events (published_at, position);

INSERT INTO alembic_version (version_num) VALUES ('0008');

INSERT INTO schema_state (id, revision, oldest_code, release) VALUES (1, '0008', '0001', '0.1.0');
