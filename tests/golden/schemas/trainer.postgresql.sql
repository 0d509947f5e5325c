CREATE FUNCTION public.count_jobs_delete() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO '$user', 'public'
    AS $$ BEGIN UPDATE project_shares SET waiting = waiting - CASE WHEN OLD.state = 'QUEUED' THEN 1 ELSE 0 END, running = running - CASE WHEN OLD.lease_token IS NOT NULL THEN 1 ELSE 0 END WHERE project = OLD.project; RETURN NULL; END $$;

CREATE FUNCTION public.count_jobs_insert() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO '$user', 'public'
    AS $$ BEGIN UPDATE project_shares SET waiting = waiting + CASE WHEN NEW.state = 'QUEUED' THEN 1 ELSE 0 END, running = running + CASE WHEN NEW.lease_token IS NOT NULL THEN 1 ELSE 0 END WHERE project = NEW.project; RETURN NULL; END $$;

CREATE FUNCTION public.count_jobs_update() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO '$user', 'public'
    AS $$ BEGIN UPDATE project_shares SET waiting = waiting + CASE WHEN NEW.state = 'QUEUED' THEN 1 ELSE 0 END - CASE WHEN OLD.state = 'QUEUED' THEN 1 ELSE 0 END, running = running + CASE WHEN NEW.lease_token IS NOT NULL THEN 1 ELSE 0 END - CASE WHEN OLD.lease_token IS NOT NULL THEN 1 ELSE 0 END, served_at = CASE WHEN OLD.lease_token IS NULL AND NEW.lease_token IS NOT NULL THEN NEW.update_time ELSE served_at END WHERE project = NEW.project; RETURN NULL; END $$;

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.attempt_times (
    job character varying(200) NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    start_time bigint NOT NULL,
    project character varying(200) NOT NULL COLLATE pg_catalog."C",
    end_time bigint
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

CREATE TABLE public.base_model_meter (
    project character varying(200) NOT NULL COLLATE pg_catalog."C",
    hour bigint NOT NULL
);

CREATE TABLE public.base_models (
    name character varying(200) NOT NULL COLLATE pg_catalog."C",
    project character varying(200) NOT NULL COLLATE pg_catalog."C",
    display_name text NOT NULL,
    description text NOT NULL,
    license text NOT NULL,
    labels text NOT NULL,
    file_name text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    header_bytes integer NOT NULL,
    header_sha256 character varying(64) NOT NULL,
    "precision" character varying(8) NOT NULL,
    families text NOT NULL,
    based_on character varying(100) NOT NULL,
    family character varying(60) NOT NULL,
    state character varying(16) NOT NULL,
    parts text NOT NULL,
    error text,
    attempts text NOT NULL,
    lease_token character varying(64),
    lease_worker character varying(100),
    lease_expires_at bigint,
    revision integer NOT NULL,
    create_time bigint NOT NULL,
    update_time bigint NOT NULL
);

CREATE TABLE public.epochs (
    job character varying(200) NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    attempt integer NOT NULL,
    step bigint NOT NULL,
    loss double precision NOT NULL,
    files text NOT NULL,
    previews text NOT NULL,
    evaluation text,
    reload_difference double precision NOT NULL,
    train_seconds double precision NOT NULL,
    checkpoint text NOT NULL,
    create_time bigint NOT NULL,
    pretended boolean DEFAULT false NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
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

CREATE TABLE public.measurements (
    id bigint NOT NULL,
    device character varying(200) NOT NULL,
    base_model character varying(100) NOT NULL,
    measurement text NOT NULL,
    measured_at bigint NOT NULL
);

CREATE SEQUENCE public.measurements_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.measurements_id_seq OWNED BY public.measurements.id;

CREATE TABLE public.metric_chunks (
    job character varying(200) NOT NULL COLLATE pg_catalog."C",
    first_step bigint NOT NULL,
    last_step bigint NOT NULL,
    points bytea NOT NULL
);

CREATE TABLE public.preview_requests (
    name character varying(200) NOT NULL COLLATE pg_catalog."C",
    project character varying(200) NOT NULL COLLATE pg_catalog."C",
    base_model character varying(100) NOT NULL,
    state character varying(16) NOT NULL,
    live_job character varying(200) NOT NULL COLLATE pg_catalog."C",
    drawing text NOT NULL,
    cells text NOT NULL,
    error text,
    attempts text NOT NULL,
    lease_token character varying(64),
    lease_worker character varying(100),
    lease_expires_at bigint,
    wanted_until bigint,
    revision integer NOT NULL,
    create_time bigint NOT NULL,
    start_time bigint,
    end_time bigint,
    expire_time bigint NOT NULL,
    entry character varying(100) DEFAULT ''::character varying NOT NULL
);

CREATE TABLE public.project_shares (
    project character varying(200) NOT NULL COLLATE pg_catalog."C",
    served_at bigint,
    waiting integer DEFAULT 0 NOT NULL,
    running integer DEFAULT 0 NOT NULL
);

CREATE TABLE public.schema_state (
    id integer NOT NULL,
    revision character varying(32) NOT NULL,
    oldest_code character varying(32) NOT NULL,
    release character varying(64) NOT NULL
);

CREATE TABLE public.training_jobs (
    name character varying(200) NOT NULL COLLATE pg_catalog."C",
    project character varying(200) NOT NULL COLLATE pg_catalog."C",
    display_name text NOT NULL,
    base_model character varying(100) NOT NULL,
    dataset_version character varying(300) NOT NULL,
    dataset_digest character varying(64) NOT NULL,
    image_count integer NOT NULL,
    trigger_word text NOT NULL,
    parameters text NOT NULL,
    steps_per_epoch bigint NOT NULL,
    samples_per_step integer NOT NULL,
    total_steps bigint NOT NULL,
    priority integer NOT NULL,
    state character varying(16) NOT NULL,
    progress text NOT NULL,
    step bigint NOT NULL,
    epochs_completed integer NOT NULL,
    error text,
    recommended_epoch integer NOT NULL,
    recommendation_reason text NOT NULL,
    attempts text NOT NULL,
    lease_token character varying(64),
    lease_worker character varying(100),
    lease_expires_at bigint,
    failures integer NOT NULL,
    losses integer NOT NULL,
    stop_requested boolean NOT NULL,
    base_previews text NOT NULL,
    progress_told_at bigint,
    seconds_per_sample double precision NOT NULL,
    revision integer NOT NULL,
    queued_at bigint NOT NULL,
    create_time bigint NOT NULL,
    start_time bigint,
    end_time bigint,
    update_time bigint NOT NULL,
    last_event bigint NOT NULL,
    last_metric_step bigint NOT NULL,
    thinned boolean DEFAULT false NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL,
    state_time bigint,
    notices text DEFAULT '[]'::text NOT NULL,
    traceparent character varying(55) DEFAULT ''::character varying NOT NULL,
    memory_bytes bigint DEFAULT '0'::bigint NOT NULL,
    memory_low_bytes bigint DEFAULT '0'::bigint NOT NULL,
    memory_class integer DEFAULT 0 NOT NULL,
    mixed_precision character varying(8) DEFAULT ''::character varying NOT NULL,
    entry character varying(100) DEFAULT ''::character varying NOT NULL,
    needs_skill integer DEFAULT 0 NOT NULL,
    initial_lora text,
    datasets text DEFAULT '[]'::text NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.workers (
    worker_id character varying(100) NOT NULL,
    base_models text NOT NULL,
    device text NOT NULL,
    seen_at bigint NOT NULL,
    device_memory_bytes bigint DEFAULT '0'::bigint NOT NULL,
    families text DEFAULT '[]'::text NOT NULL,
    mixed_precisions text DEFAULT '[]'::text NOT NULL,
    skill integer,
    takes_own boolean
);

ALTER TABLE ONLY public.events ALTER COLUMN "position" SET DEFAULT nextval('public.events_position_seq'::regclass);

ALTER TABLE ONLY public.measurements ALTER COLUMN id SET DEFAULT nextval('public.measurements_id_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.attempt_times
    ADD CONSTRAINT attempt_times_pkey PRIMARY KEY (job, number, start_time);

ALTER TABLE ONLY public.audit_outbox
    ADD CONSTRAINT audit_outbox_pkey PRIMARY KEY (id, revision);

ALTER TABLE ONLY public.base_model_meter
    ADD CONSTRAINT base_model_meter_pkey PRIMARY KEY (project);

ALTER TABLE ONLY public.base_models
    ADD CONSTRAINT base_models_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_pkey PRIMARY KEY (job, number);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_id_key UNIQUE (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project, method, request_id);

ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT measurements_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.metric_chunks
    ADD CONSTRAINT metric_chunks_pkey PRIMARY KEY (job, last_step);

ALTER TABLE ONLY public.preview_requests
    ADD CONSTRAINT preview_requests_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.project_shares
    ADD CONSTRAINT project_shares_pkey PRIMARY KEY (project);

ALTER TABLE ONLY public.schema_state
    ADD CONSTRAINT schema_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.training_jobs
    ADD CONSTRAINT training_jobs_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker_id);

CREATE INDEX ix_attempt_times_project ON public.attempt_times USING btree (project, end_time);

CREATE INDEX ix_base_models_created ON public.base_models USING btree (project, create_time, name);

CREATE INDEX ix_base_models_unready ON public.base_models USING btree (update_time) WHERE (((state)::text = 'UPLOADING'::text) OR ((state)::text = 'CHECKING'::text));

CREATE INDEX ix_events_unpublished ON public.events USING btree (published_at, "position");

CREATE INDEX ix_idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);

CREATE INDEX ix_jobs_active ON public.training_jobs USING btree (project) WHERE (lease_token IS NOT NULL);

CREATE INDEX ix_jobs_created ON public.training_jobs USING btree (project, create_time, name);

CREATE INDEX ix_jobs_own_model ON public.training_jobs USING btree (base_model) WHERE ((entry)::text <> ''::text);

CREATE INDEX ix_jobs_pace ON public.training_jobs USING btree (base_model, end_time);

CREATE INDEX ix_jobs_queue ON public.training_jobs USING btree (project, priority DESC, queued_at, name) WHERE ((state)::text = 'QUEUED'::text);

CREATE INDEX ix_jobs_queue_memory ON public.training_jobs USING btree (project, memory_class, priority DESC, queued_at, name) WHERE ((state)::text = 'QUEUED'::text);

CREATE INDEX ix_jobs_queue_model ON public.training_jobs USING btree (project, base_model, priority DESC, queued_at, name) WHERE ((state)::text = 'QUEUED'::text);

CREATE INDEX ix_jobs_unthinned ON public.training_jobs USING btree (end_time) WHERE ((end_time IS NOT NULL) AND (NOT thinned));

CREATE INDEX ix_measurements_device ON public.measurements USING btree (device, base_model, measured_at);

CREATE INDEX ix_previews_created ON public.preview_requests USING btree (project, create_time, name);

CREATE INDEX ix_previews_expire ON public.preview_requests USING btree (expire_time);

CREATE INDEX ix_previews_unended ON public.preview_requests USING btree (project) WHERE (end_time IS NULL);

CREATE INDEX ix_shares_turn ON public.project_shares USING btree (running, served_at NULLS FIRST, project) WHERE (waiting > 0);

CREATE TRIGGER count_jobs_delete AFTER DELETE ON public.training_jobs FOR EACH ROW WHEN ((((old.state)::text = 'QUEUED'::text) OR (old.lease_token IS NOT NULL))) EXECUTE FUNCTION public.count_jobs_delete();

CREATE TRIGGER count_jobs_insert AFTER INSERT ON public.training_jobs FOR EACH ROW WHEN ((((new.state)::text = 'QUEUED'::text) OR (new.lease_token IS NOT NULL))) EXECUTE FUNCTION public.count_jobs_insert();

CREATE TRIGGER count_jobs_update AFTER UPDATE OF state, lease_token ON public.training_jobs FOR EACH ROW WHEN (((((old.state)::text = 'QUEUED'::text) <> ((new.state)::text = 'QUEUED'::text)) OR ((old.lease_token IS NULL) <> (new.lease_token IS NULL)))) EXECUTE FUNCTION public.count_jobs_update();

ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_job_fkey FOREIGN KEY (job) REFERENCES public.training_jobs(name);

ALTER TABLE ONLY public.metric_chunks
    ADD CONSTRAINT metric_chunks_job_fkey FOREIGN KEY (job) REFERENCES public.training_jobs(name);

INSERT INTO public.alembic_version (version_num) VALUES ('0019');

INSERT INTO public.schema_state (id, revision, oldest_code, release) VALUES (1, '0019', '0002', '0.1.0');
