CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE tag_jobs (
    name VARCHAR(200) NOT NULL,
    project VARCHAR(64) NOT NULL,
    dataset VARCHAR(200) NOT NULL,
    options TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    dry_run BOOLEAN NOT NULL,
    error TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    revision INTEGER NOT NULL,
    request_id VARCHAR(128) NOT NULL,
    principal VARCHAR(200) NOT NULL,
    owner VARCHAR(80) NOT NULL,
    owned_until BIGINT, labels TEXT DEFAULT '{}' NOT NULL, traceparent VARCHAR(55) DEFAULT '' NOT NULL, progress_told_at BIGINT,
    PRIMARY KEY (name)
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

CREATE TABLE "tag_job_images" (
    job VARCHAR(200) NOT NULL,
    position INTEGER NOT NULL,
    image VARCHAR(300) NOT NULL,
    state VARCHAR(16) NOT NULL,
    message TEXT NOT NULL,
    added TEXT NOT NULL,
    removed TEXT NOT NULL,
    outside_domain BOOLEAN DEFAULT 0 NOT NULL,
    calls INTEGER DEFAULT '0' NOT NULL,
    rescored BOOLEAN DEFAULT 0 NOT NULL,
    caption TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (job, position),
    FOREIGN KEY(job) REFERENCES tag_jobs (name) ON DELETE CASCADE
);

CREATE TABLE image_scores (
    image VARCHAR(300) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    scores BLOB NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (image, fingerprint)
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

CREATE INDEX ix_tag_jobs_project_created ON tag_jobs (project, created_at, name);

CREATE INDEX ix_tag_jobs_state_created ON tag_jobs (state, created_at);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE UNIQUE INDEX ix_tag_job_images_image ON tag_job_images (job, image);

CREATE INDEX ix_image_scores_used ON image_scores (used_at);

CREATE INDEX ix_events_unpublished ON events (published_at, position);

INSERT INTO alembic_version (version_num) VALUES ('0008');

INSERT INTO schema_state (id, revision, oldest_code, release) VALUES (1, '0008', '0001', '0.1.0');
