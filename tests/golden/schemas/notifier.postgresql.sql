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

CREATE TABLE public.deliveries (
    project character varying(63) NOT NULL,
    webhook_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    delivery_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    event_id character varying(64) NOT NULL,
    event_type character varying(128) NOT NULL,
    state character varying(20) NOT NULL,
    attempts text NOT NULL,
    attempt_count integer NOT NULL,
    tries integer NOT NULL,
    next_attempt_time bigint,
    claim_token character varying(36) NOT NULL,
    give_up_time bigint NOT NULL,
    create_time bigint NOT NULL,
    end_time bigint
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

CREATE TABLE public.received_events (
    id character varying(64) NOT NULL,
    body text NOT NULL,
    received_at bigint NOT NULL
);

CREATE TABLE public.schema_state (
    id integer NOT NULL,
    revision character varying(32) NOT NULL,
    oldest_code character varying(32) NOT NULL,
    release character varying(64) NOT NULL
);

CREATE TABLE public.webhooks (
    project character varying(63) NOT NULL,
    webhook_id character varying(63) NOT NULL COLLATE pg_catalog."C",
    uid character varying(36) NOT NULL,
    display_name text NOT NULL,
    search_name text NOT NULL COLLATE pg_catalog."C",
    url text NOT NULL COLLATE pg_catalog."C",
    event_types text NOT NULL,
    disabled boolean NOT NULL,
    disabled_reason text NOT NULL,
    labels text NOT NULL,
    secret text NOT NULL,
    previous_secret text NOT NULL,
    previous_until bigint,
    failing_since bigint,
    last_success_time bigint,
    revision integer NOT NULL,
    create_time bigint NOT NULL,
    update_time bigint NOT NULL
);

ALTER TABLE ONLY public.events ALTER COLUMN "position" SET DEFAULT nextval('public.events_position_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.audit_outbox
    ADD CONSTRAINT audit_outbox_pkey PRIMARY KEY (id, revision);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (project, webhook_id, delivery_id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_id_key UNIQUE (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project, method, request_id);

ALTER TABLE ONLY public.received_events
    ADD CONSTRAINT received_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_state
    ADD CONSTRAINT schema_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_aggregate_sequence UNIQUE (aggregate, sequence);

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (project, webhook_id);

CREATE INDEX ix_deliveries_create_time ON public.deliveries USING btree (project, webhook_id, create_time, delivery_id);

CREATE INDEX ix_deliveries_due ON public.deliveries USING btree (project, webhook_id, next_attempt_time) WHERE ((state)::text = 'PENDING'::text);

CREATE INDEX ix_deliveries_end_time ON public.deliveries USING btree (end_time);

CREATE UNIQUE INDEX ix_deliveries_event ON public.deliveries USING btree (event_id, project, webhook_id);

CREATE INDEX ix_events_unpublished ON public.events USING btree (published_at, "position");

CREATE INDEX ix_idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);

CREATE INDEX ix_received_events_received_at ON public.received_events USING btree (received_at);

CREATE INDEX ix_webhooks_create_time ON public.webhooks USING btree (project, create_time, webhook_id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_project_webhook_id_fkey FOREIGN KEY (project, webhook_id) REFERENCES public.webhooks(project, webhook_id) ON DELETE CASCADE;

INSERT INTO public.alembic_version (version_num) VALUES ('0002');

INSERT INTO public.schema_state (id, revision, oldest_code, release) VALUES (1, '0002', '0001', '0.1.0');
