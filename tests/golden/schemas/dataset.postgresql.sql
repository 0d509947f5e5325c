CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.audit_outbox (
    id character varying(36) NOT NULL,
    revision integer NOT NULL,
    "time" bigint NOT NULL,
    project character varying(63) NOT NULL,
    principal character varying(300) NOT NULL,
    role character varying(20) NOT NULL,
    method character varying(200) NOT NULL,
    resource character varying(512) NOT NULL,
    code character varying(30) NOT NULL,
    reason character varying(64) NOT NULL,
    request_id character varying(128) NOT NULL,
    address character varying(64) NOT NULL,
    count bigint NOT NULL
);

CREATE TABLE public.datasets (
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    display_name text NOT NULL,
    folded_name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL,
    trigger_word text NOT NULL,
    num_repeats integer NOT NULL,
    image_count integer NOT NULL,
    size_bytes bigint NOT NULL,
    last_position integer NOT NULL,
    last_version integer NOT NULL,
    revision integer NOT NULL,
    create_time bigint NOT NULL,
    update_time bigint NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL,
    text_from character varying(16) DEFAULT 'caption_or_tags'::character varying NOT NULL,
    subject text DEFAULT ''::text NOT NULL
);

CREATE TABLE public.edit_images (
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    number integer NOT NULL,
    image_id character varying(63) NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    mask_key character varying(512),
    mask_bytes bigint
);

CREATE TABLE public.edits (
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    number integer NOT NULL,
    method character varying(63) NOT NULL,
    editor character varying(200) NOT NULL,
    request_id character varying(200) NOT NULL,
    fields text NOT NULL,
    changed_images integer NOT NULL,
    create_time bigint NOT NULL,
    undoes integer NOT NULL,
    undone_by integer NOT NULL
);

CREATE TABLE public.events (
    "position" bigint NOT NULL,
    id character varying(36) NOT NULL,
    aggregate character varying(512) NOT NULL,
    sequence bigint NOT NULL,
    type character varying(128) NOT NULL,
    subject character varying(512) NOT NULL,
    source character varying(512) NOT NULL,
    payload text NOT NULL,
    created_at bigint NOT NULL,
    published_at bigint,
    traceparent character varying(55) DEFAULT ''::character varying NOT NULL
);

CREATE SEQUENCE public.events_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.events_position_seq OWNED BY public.events."position";

CREATE TABLE public.idempotency_keys (
    project character varying(64) NOT NULL,
    method character varying(64) NOT NULL,
    request_id character varying(128) NOT NULL,
    digest character varying(64) NOT NULL,
    resource_name character varying(512) NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE public.image_notes (
    "position" bigint NOT NULL,
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    image_id character varying(63) NOT NULL,
    change character varying(8) NOT NULL,
    noted_at bigint NOT NULL
);

CREATE SEQUENCE public.image_notes_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.image_notes_position_seq OWNED BY public.image_notes."position";

CREATE TABLE public.images (
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    image_id character varying(63) NOT NULL,
    "position" integer NOT NULL,
    file_name text NOT NULL,
    content_type character varying(32) NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    original_key character varying(512) NOT NULL,
    thumbnail_key character varying(512) NOT NULL,
    thumbnail_bytes integer NOT NULL,
    caption text NOT NULL,
    tags text NOT NULL,
    crop text,
    num_repeats integer NOT NULL,
    revision integer NOT NULL,
    create_time bigint NOT NULL,
    update_time bigint NOT NULL,
    facts text,
    content_area text,
    previous_crop text,
    perceptual_hash character varying(16),
    caption_origin text,
    mask_key character varying(512),
    mask_bytes bigint,
    mask text,
    text_areas text,
    labels text DEFAULT '{}'::text NOT NULL,
    features bytea,
    features_model character varying(64)
);

CREATE TABLE public.noted_keys (
    key character varying(512) NOT NULL,
    due bigint NOT NULL,
    claimed boolean NOT NULL
);

CREATE TABLE public.project_usage (
    project character varying(63) NOT NULL,
    datasets integer NOT NULL,
    images integer NOT NULL,
    stored_bytes bigint NOT NULL,
    metered_hour bigint
);

CREATE TABLE public.schema_state (
    id integer NOT NULL,
    revision character varying(32) NOT NULL,
    oldest_code character varying(32) NOT NULL,
    release character varying(64) NOT NULL
);

CREATE TABLE public.version_images (
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    number integer NOT NULL,
    image_id character varying(63) NOT NULL,
    "position" integer NOT NULL,
    file_name text NOT NULL,
    content_type character varying(32) NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    original_key character varying(512) NOT NULL,
    thumbnail_key character varying(512) NOT NULL,
    thumbnail_bytes integer NOT NULL,
    caption text NOT NULL,
    tags text NOT NULL,
    crop text,
    num_repeats integer NOT NULL,
    caption_origin text,
    facts text,
    content_area text,
    perceptual_hash character varying(16),
    mask_key character varying(512),
    mask_bytes bigint,
    mask text,
    text_areas text,
    labels text DEFAULT '{}'::text NOT NULL,
    features bytea,
    features_model character varying(64)
);

CREATE TABLE public.versions (
    project character varying(63) NOT NULL,
    dataset_id character varying(63) NOT NULL,
    number integer NOT NULL,
    digest character varying(64) NOT NULL,
    image_count integer NOT NULL,
    size_bytes bigint NOT NULL,
    trigger_word text NOT NULL,
    description text NOT NULL,
    create_time bigint NOT NULL,
    text_from character varying(16) DEFAULT 'caption_or_tags'::character varying NOT NULL,
    subject text DEFAULT ''::text NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
);

ALTER TABLE ONLY public.events ALTER COLUMN "position" SET DEFAULT nextval('public.events_position_seq'::regclass);

ALTER TABLE ONLY public.image_notes ALTER COLUMN "position" SET DEFAULT nextval('public.image_notes_position_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.audit_outbox
    ADD CONSTRAINT audit_outbox_pkey PRIMARY KEY (id, revision);

ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT datasets_pkey PRIMARY KEY (project, dataset_id);

ALTER TABLE ONLY public.edit_images
    ADD CONSTRAINT edit_images_pkey PRIMARY KEY (project, dataset_id, number, image_id);

ALTER TABLE ONLY public.edits
    ADD CONSTRAINT edits_pkey PRIMARY KEY (project, dataset_id, number);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_id_key UNIQUE (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project, method, request_id);

ALTER TABLE ONLY public.image_notes
    ADD CONSTRAINT image_notes_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_pkey PRIMARY KEY (project, dataset_id, image_id);

ALTER TABLE ONLY public.noted_keys
    ADD CONSTRAINT noted_keys_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.project_usage
    ADD CONSTRAINT project_usage_pkey PRIMARY KEY (project);

ALTER TABLE ONLY public.schema_state
    ADD CONSTRAINT schema_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence);

ALTER TABLE ONLY public.images
    ADD CONSTRAINT uq_images_position UNIQUE (project, dataset_id, "position");

ALTER TABLE ONLY public.images
    ADD CONSTRAINT uq_images_sha256 UNIQUE (project, dataset_id, sha256);

ALTER TABLE ONLY public.version_images
    ADD CONSTRAINT version_images_pkey PRIMARY KEY (project, dataset_id, number, image_id);

ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (project, dataset_id, number);

CREATE INDEX ix_datasets_create_time ON public.datasets USING btree (project, create_time);

CREATE INDEX ix_edit_images_image ON public.edit_images USING btree (project, dataset_id, image_id);

CREATE INDEX ix_events_unpublished ON public.events USING btree (published_at, "position");

CREATE INDEX ix_idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);

CREATE INDEX ix_image_notes_dataset ON public.image_notes USING btree (project, dataset_id, "position");

CREATE INDEX ix_noted_keys_due ON public.noted_keys USING btree (claimed, due);

CREATE INDEX ix_version_images_image ON public.version_images USING btree (project, dataset_id, image_id);

CREATE INDEX ix_versions_digest ON public.versions USING btree (project, dataset_id, digest);

INSERT INTO public.alembic_version (version_num) VALUES ('0013');

INSERT INTO public.schema_state (id, revision, oldest_code, release) VALUES (1, '0013', '0001', '0.1.0');
