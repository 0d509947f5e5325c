CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE datasets (
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    display_name TEXT NOT NULL,
    folded_name TEXT NOT NULL,
    description TEXT NOT NULL,
    trigger_word TEXT NOT NULL,
    num_repeats INTEGER NOT NULL,
    image_count INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    last_position INTEGER NOT NULL,
    last_version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL, labels TEXT DEFAULT '{}' NOT NULL, text_from VARCHAR(16) DEFAULT 'caption_or_tags' NOT NULL, subject TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (project, dataset_id)
);

CREATE TABLE images (
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    image_id VARCHAR(63) NOT NULL,
    position INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    content_type VARCHAR(32) NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    original_key VARCHAR(512) NOT NULL,
    thumbnail_key VARCHAR(512) NOT NULL,
    thumbnail_bytes INTEGER NOT NULL,
    caption TEXT NOT NULL,
    tags TEXT NOT NULL,
    crop TEXT,
    num_repeats INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL, facts TEXT, content_area TEXT, previous_crop TEXT, perceptual_hash VARCHAR(16), caption_origin TEXT, mask_key VARCHAR(512), mask_bytes BIGINT, mask TEXT, text_areas TEXT, labels TEXT DEFAULT '{}' NOT NULL, features BLOB, features_model VARCHAR(64),
    PRIMARY KEY (project, dataset_id, image_id),
    CONSTRAINT uq_images_position UNIQUE (project, dataset_id, position),
    CONSTRAINT uq_images_sha256 UNIQUE (project, dataset_id, sha256)
);

CREATE TABLE versions (
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    digest VARCHAR(64) NOT NULL,
    image_count INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    trigger_word TEXT NOT NULL,
    description TEXT NOT NULL,
    create_time BIGINT NOT NULL, text_from VARCHAR(16) DEFAULT 'caption_or_tags' NOT NULL, subject TEXT DEFAULT '' NOT NULL, labels TEXT DEFAULT '{}' NOT NULL,
    PRIMARY KEY (project, dataset_id, number)
);

CREATE TABLE version_images (
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    image_id VARCHAR(63) NOT NULL,
    position INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    content_type VARCHAR(32) NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    original_key VARCHAR(512) NOT NULL,
    thumbnail_key VARCHAR(512) NOT NULL,
    thumbnail_bytes INTEGER NOT NULL,
    caption TEXT NOT NULL,
    tags TEXT NOT NULL,
    crop TEXT,
    num_repeats INTEGER NOT NULL, caption_origin TEXT, facts TEXT, content_area TEXT, perceptual_hash VARCHAR(16), mask_key VARCHAR(512), mask_bytes BIGINT, mask TEXT, text_areas TEXT, labels TEXT DEFAULT '{}' NOT NULL, features BLOB, features_model VARCHAR(64),
    PRIMARY KEY (project, dataset_id, number, image_id)
);

CREATE TABLE noted_keys (
    "key" VARCHAR(512) NOT NULL,
    due BIGINT NOT NULL,
    claimed BOOLEAN NOT NULL,
    PRIMARY KEY ("key")
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

CREATE TABLE project_usage (
    project VARCHAR(63) NOT NULL,
    datasets INTEGER NOT NULL,
    images INTEGER NOT NULL,
    stored_bytes BIGINT NOT NULL,
    metered_hour BIGINT,
    PRIMARY KEY (project)
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

CREATE TABLE edits (
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    method VARCHAR(63) NOT NULL,
    editor VARCHAR(200) NOT NULL,
    request_id VARCHAR(200) NOT NULL,
    fields TEXT NOT NULL,
    changed_images INTEGER NOT NULL,
    create_time BIGINT NOT NULL,
    undoes INTEGER NOT NULL,
    undone_by INTEGER NOT NULL,
    PRIMARY KEY (project, dataset_id, number)
);

CREATE TABLE edit_images (
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    number INTEGER NOT NULL,
    image_id VARCHAR(63) NOT NULL,
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    mask_key VARCHAR(512),
    mask_bytes BIGINT,
    PRIMARY KEY (project, dataset_id, number, image_id)
);

CREATE TABLE image_notes (
    position INTEGER NOT NULL,
    project VARCHAR(63) NOT NULL,
    dataset_id VARCHAR(63) NOT NULL,
    image_id VARCHAR(63) NOT NULL,
    change VARCHAR(8) NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (position)
);

CREATE TABLE schema_state (
    id INTEGER NOT NULL,
    revision VARCHAR(32) NOT NULL,
    oldest_code VARCHAR(32) NOT NULL,
    release VARCHAR(64) NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_datasets_create_time ON datasets (project, create_time);

CREATE INDEX ix_versions_digest ON versions (project, dataset_id, digest);

CREATE INDEX ix_version_images_image ON version_images (project, dataset_id, image_id);

CREATE INDEX ix_noted_keys_due ON noted_keys (claimed, due);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE INDEX ix_events_unpublished ON events (published_at, position);

CREATE INDEX ix_edit_images_image ON edit_images (project, dataset_id, image_id);

CREATE INDEX ix_image_notes_dataset ON image_notes (project, dataset_id, position);

INSERT INTO alembic_version (version_num) VALUES ('0013');

INSERT INTO schema_state (id, revision, oldest_code, release) VALUES (1, '0013', '0001', '0.1.0');
