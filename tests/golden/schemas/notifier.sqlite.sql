CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE webhooks (
    project VARCHAR(63) NOT NULL,
    webhook_id VARCHAR(63) NOT NULL,
    uid VARCHAR(36) NOT NULL,
    display_name TEXT NOT NULL,
    search_name TEXT NOT NULL,
    url TEXT NOT NULL,
    event_types TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    disabled_reason TEXT NOT NULL,
    labels TEXT NOT NULL,
    secret TEXT NOT NULL,
    previous_secret TEXT NOT NULL,
    previous_until BIGINT,
    failing_since BIGINT,
    last_success_time BIGINT,
    revision INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (project, webhook_id)
);

CREATE TABLE received_events (
    id VARCHAR(64) NOT NULL,
    body TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE deliveries (
    project VARCHAR(63) NOT NULL,
    webhook_id VARCHAR(63) NOT NULL,
    delivery_id VARCHAR(63) NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    event_type VARCHAR(128) NOT NULL,
    state VARCHAR(20) NOT NULL,
    attempts TEXT NOT NULL,
    attempt_count INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    next_attempt_time BIGINT,
    claim_token VARCHAR(36) NOT NULL,
    give_up_time BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    end_time BIGINT,
    PRIMARY KEY (project, webhook_id, delivery_id),
    FOREIGN KEY(project, webhook_id) REFERENCES webhooks (project, webhook_id) ON DELETE CASCADE
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

CREATE TABLE schema_state (
    id INTEGER NOT NULL,
    revision VARCHAR(32) NOT NULL,
    oldest_code VARCHAR(32) NOT NULL,
    release VARCHAR(64) NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_webhooks_create_time ON webhooks (project, create_time, webhook_id);

CREATE INDEX ix_received_events_received_at ON received_events (received_at);

CREATE UNIQUE INDEX ix_deliveries_event ON deliveries (event_id, project, webhook_id);

CREATE INDEX ix_deliveries_create_time ON deliveries (project, webhook_id, create_time, delivery_id);

CREATE INDEX ix_deliveries_end_time ON deliveries (end_time);

CREATE INDEX ix_deliveries_due ON deliveries (project, webhook_id, next_attempt_time) WHERE state = 'PENDING';

CREATE INDEX ix_events_unpublished ON events (published_at, position);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);

INSERT INTO alembic_version (version_num) VALUES ('0002');

INSERT INTO schema_state (id, revision, oldest_code, release) VALUES (1, '0002', '0001', '0.1.0');
