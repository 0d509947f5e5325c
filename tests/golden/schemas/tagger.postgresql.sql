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

CREATE TABLE public.image_scores (
    image character varying(300) NOT NULL,
    fingerprint character varying(64) NOT NULL,
    scores bytea NOT NULL,
    used_at bigint NOT NULL
);

CREATE TABLE public.schema_state (
    id integer NOT NULL,
    revision character varying(32) NOT NULL,
    oldest_code character varying(32) NOT NULL,
    release character varying(64) NOT NULL
);

CREATE TABLE public.tag_job_images (
    job character varying(200) NOT NULL,
    "position" integer NOT NULL,
    image character varying(300) NOT NULL,
    state character varying(16) NOT NULL,
    message text NOT NULL,
    added text NOT NULL,
    removed text NOT NULL,
    outside_domain boolean DEFAULT false NOT NULL,
    calls integer DEFAULT 0 NOT NULL,
    rescored boolean DEFAULT false NOT NULL,
    caption text DEFAULT ''::text NOT NULL
);

CREATE TABLE public.tag_jobs (
    name character varying(200) NOT NULL,
    project character varying(64) NOT NULL,
    dataset character varying(200) NOT NULL,
    options text NOT NULL,
    state character varying(16) NOT NULL,
    dry_run boolean NOT NULL,
    error text NOT NULL,
    note text NOT NULL,
    created_at bigint NOT NULL,
    ended_at bigint,
    revision integer NOT NULL,
    request_id character varying(128) NOT NULL,
    principal character varying(200) NOT NULL,
    owner character varying(80) NOT NULL,
    owned_until bigint,
    labels text DEFAULT '{}'::text NOT NULL,
    traceparent character varying(55) DEFAULT ''::character varying NOT NULL,
    progress_told_at bigint
);

ALTER TABLE ONLY public.events ALTER COLUMN "position" SET DEFAULT nextval('public.events_position_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.audit_outbox
    ADD CONSTRAINT audit_outbox_pkey PRIMARY KEY (id, revision);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_id_key UNIQUE (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project, method, request_id);

ALTER TABLE ONLY public.image_scores
    ADD CONSTRAINT image_scores_pkey PRIMARY KEY (image, fingerprint);

ALTER TABLE ONLY public.schema_state
    ADD CONSTRAINT schema_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tag_job_images
    ADD CONSTRAINT tag_job_images_pkey PRIMARY KEY (job, "position");

ALTER TABLE ONLY public.tag_jobs
    ADD CONSTRAINT tag_jobs_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence);

CREATE INDEX ix_events_unpublished ON public.events USING btree (published_at, "position");

CREATE INDEX ix_idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);

CREATE INDEX ix_image_scores_used ON public.image_scores USING btree (used_at);

CREATE UNIQUE INDEX ix_tag_job_images_image ON public.tag_job_images USING btree (job, image);

CREATE INDEX ix_tag_jobs_project_created ON public.tag_jobs USING btree (project, created_at, name);

CREATE INDEX ix_tag_jobs_state_created ON public.tag_jobs USING btree (state, created_at);

ALTER TABLE ONLY public.tag_job_images
    ADD CONSTRAINT tag_job_images_job_fkey FOREIGN KEY (job) REFERENCES public.tag_jobs(name) ON DELETE CASCADE;

INSERT INTO public.alembic_version (version_num) VALUES ('0008');

INSERT INTO public.schema_state (id, revision, oldest_code, release) VALUES (1, '0008', '0001', '0.1.0');
