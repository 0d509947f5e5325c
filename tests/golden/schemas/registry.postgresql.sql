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

CREATE TABLE public.audit_records (
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
    count bigint NOT NULL,
    published_at bigint
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

CREATE TABLE public.model_aliases (
    project character varying(63) NOT NULL,
    model_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    alias character varying(63) NOT NULL,
    number integer NOT NULL
);

CREATE TABLE public.model_tags (
    project character varying(63) NOT NULL,
    model_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    "position" integer NOT NULL,
    tag character varying(60) NOT NULL
);

CREATE TABLE public.model_versions (
    project character varying(63) NOT NULL,
    model_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    description text NOT NULL,
    trigger_word text NOT NULL,
    loss double precision NOT NULL,
    rank integer NOT NULL,
    alpha double precision NOT NULL,
    preview_prompts text NOT NULL,
    model_card text NOT NULL,
    dataset_version character varying(300) NOT NULL,
    dataset_digest character varying(64) NOT NULL,
    training_job character varying(300) NOT NULL,
    epoch character varying(300) NOT NULL,
    base_model character varying(100) NOT NULL,
    step bigint NOT NULL,
    parameters_sha256 character varying(64) NOT NULL,
    create_time bigint NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL,
    uploaded_file character varying(255) DEFAULT ''::character varying NOT NULL,
    pretended boolean DEFAULT false NOT NULL,
    initial_lora character varying(300) DEFAULT ''::character varying NOT NULL,
    datasets text DEFAULT '[]'::text NOT NULL
);

CREATE TABLE public.models (
    project character varying(63) NOT NULL,
    model_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    uid character varying(36) NOT NULL,
    display_name text NOT NULL,
    search_name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL,
    last_version integer NOT NULL,
    revision integer NOT NULL,
    create_time bigint NOT NULL,
    update_time bigint NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
);

CREATE TABLE public.schema_state (
    id integer NOT NULL,
    revision character varying(32) NOT NULL,
    oldest_code character varying(32) NOT NULL,
    release character varying(64) NOT NULL
);

CREATE TABLE public.version_files (
    project character varying(63) NOT NULL,
    model_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    "position" integer NOT NULL,
    file_id character varying(60) NOT NULL,
    file_name character varying(255) NOT NULL,
    content_type character varying(100) NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    object_key character varying(1000) NOT NULL
);

ALTER TABLE ONLY public.events ALTER COLUMN "position" SET DEFAULT nextval('public.events_position_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.audit_outbox
    ADD CONSTRAINT audit_outbox_pkey PRIMARY KEY (id, revision);

ALTER TABLE ONLY public.audit_records
    ADD CONSTRAINT audit_records_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_id_key UNIQUE (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project, method, request_id);

ALTER TABLE ONLY public.model_aliases
    ADD CONSTRAINT model_aliases_pkey PRIMARY KEY (project, model_id, alias);

ALTER TABLE ONLY public.model_tags
    ADD CONSTRAINT model_tags_pkey PRIMARY KEY (project, model_id, "position");

ALTER TABLE ONLY public.model_versions
    ADD CONSTRAINT model_versions_pkey PRIMARY KEY (project, model_id, number);

ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (project, model_id);

ALTER TABLE ONLY public.schema_state
    ADD CONSTRAINT schema_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence);

ALTER TABLE ONLY public.version_files
    ADD CONSTRAINT version_files_object_key_key UNIQUE (object_key);

ALTER TABLE ONLY public.version_files
    ADD CONSTRAINT version_files_pkey PRIMARY KEY (project, model_id, number, "position");

CREATE INDEX ix_audit_records_project ON public.audit_records USING btree (project, "time", id);

CREATE INDEX ix_audit_records_time ON public.audit_records USING btree ("time", id);

CREATE INDEX ix_audit_records_unpublished ON public.audit_records USING btree (published_at, "time");

CREATE INDEX ix_events_unpublished ON public.events USING btree (published_at, "position");

CREATE INDEX ix_idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);

CREATE INDEX ix_model_aliases_number ON public.model_aliases USING btree (project, model_id, number);

CREATE INDEX ix_model_tags_tag ON public.model_tags USING btree (project, tag);

CREATE INDEX ix_model_versions_epoch ON public.model_versions USING btree (epoch);

CREATE INDEX ix_models_create_time ON public.models USING btree (project, create_time, model_id);

ALTER TABLE ONLY public.model_aliases
    ADD CONSTRAINT model_aliases_project_model_id_number_fkey FOREIGN KEY (project, model_id, number) REFERENCES public.model_versions(project, model_id, number) ON DELETE CASCADE;

ALTER TABLE ONLY public.model_tags
    ADD CONSTRAINT model_tags_project_model_id_fkey FOREIGN KEY (project, model_id) REFERENCES public.models(project, model_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.model_versions
    ADD CONSTRAINT model_versions_project_model_id_fkey FOREIGN KEY (project, model_id) REFERENCES public.models(project, model_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.version_files
    ADD CONSTRAINT version_files_project_model_id_number_fkey FOREIGN KEY (project, model_id, number) REFERENCES public.model_versions(project, model_id, number) ON DELETE CASCADE;

INSERT INTO public.alembic_version (version_num) VALUES ('0008');

INSERT INTO public.schema_state (id, revision, oldest_code, release) VALUES (1, '0008', '0001', '0.1.0');
