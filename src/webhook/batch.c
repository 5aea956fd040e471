/*
 * webhook/batch.c
 *		One transaction: from the bodies of requests into the tables.
 *
 * In the plain way, rows are collected and inserted by few statements. In the careful way, each event
 * has a subtransaction, with its key and its automations, and what fails is recorded. When to use
 * which: store.c.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "replication/message.h"
#include "utils/snapmgr.h"

#include "json/json.h"
#include "webhook/batch.h"
#include "webhook/webhook.h"
#include "worker/worker.h"

/* A transaction takes no more events once it has lasted this long, or holds so many bytes. */
#define LONG_US 200000
#define LARGE_BYTES (16 * 1024 * 1024)

/* A statement gets more rows as long as the one before it was quick, fewer when triggers are slow. */
#define FIRST_ROWS 32
#define QUICK_US 20000
#define SLOW_US 100000

/* Memory that is kept from one transaction to the next, enough for most of them. */
#define KEPT_BYTES (256 * 1024)

static int rows_per_statement = FIRST_ROWS;

/* What a transaction makes of its requests; its errors are the caller's. */
static MemoryContext run_context = NULL;

/* Sorts of errors. */
static bool
is_passing(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK ||
		   sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

bool
sl_is_trouble_of_server(int sqlstate)
{
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	/* The tables are not as we know them; but whose role may not insert has to see to that itself. */
	if (category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
		sqlstate != ERRCODE_INSUFFICIENT_PRIVILEGE)
		return true;
	return category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_SYSTEM_ERROR ||
		   sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE ||
		   sqlstate == ERRCODE_READ_ONLY_SQL_TRANSACTION || sqlstate == ERRCODE_ADMIN_SHUTDOWN ||
		   sqlstate == ERRCODE_CRASH_SHUTDOWN;
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (XactReadOnly)
		PreventCommandIfReadOnly("storing events");
	SPI_connect();
	sl_forbid_deferred_triggers();
}

/*
 * Something in the log that the commit has to wait for, though nothing was written. What the answer
 * to a repetition counts on is the commit of the first delivery, which must be on disk and on the
 * standbys as well: the log holds it before this.
 */
static void
write_something(void)
{
	(void) GetTopTransactionId();
	sl_log_transactional_message("smartlead");
}

/*
 * On disk at once, whatever synchronous_commit says. False: it is committed, but the wait for a
 * synchronous standby was cut short, by a cancellation or by the end of the server.
 */
static bool
commit_transaction(void)
{
	ForceSyncCommit();
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	return sl_last_commit_is_on_standbys();
}

/* After an error, with the error's data in the caller's context. */
static ErrorData *
end_failed_transaction(MemoryContext caller)
{
	ErrorData *error;

	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	FlushErrorState();
	sl_limit_stop();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(caller);
	return error;
}

/* Somebody's lock on the table is not the fault of the event that waits for it. */
static void
lock_table(void)
{
	PG_TRY();
	{
		sl_limit_start(NULL);
		sl_events_lock(RowExclusiveLock);
		sl_limit_stop();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		/* With this code, it counts as trouble of the server's. */
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("table smartlead_events is locked")));
	}
	PG_END_TRY();
}

static void
record(SlBatch *batch, const SlHttpRequest *request, const SlSource *source, SlEvent *event,
	   const ErrorData *error)
{
	ereport(LOG, (errmsg("a webhook's event is put into smartlead_failed_events: %s",
						 error->message ? error->message : "")));
	sl_limit_start(NULL); /* somebody may have locked that table */
	sl_failed_record(source, event == NULL ? NULL : event->event_type,
					 event == NULL ? NULL : event->payload, request->body, request->length, error);
	sl_limit_stop();
	batch->failed++;
}

/* Inserts the rows that wait, and learns how many at once are right. */
static void
insert_waiting(SlBatch *batch)
{
	int64 start = sl_now_us(), took;
	int	  stored;

	if (batch->n_rows == 0)
		return;
	stored = sl_events_insert(batch->rows, batch->n_rows, batch->role, true, NULL);
	batch->stored += stored;
	batch->duplicates += batch->n_rows - stored;
	took = sl_now_us() - start;
	if (took > SLOW_US)
		rows_per_statement = Max(rows_per_statement / 2, 1);
	else if (took < QUICK_US && batch->n_rows == rows_per_statement)
		rows_per_statement = Min(rows_per_statement * 2, sl_max_batch);
	batch->n_rows = 0;
	batch->rows = NULL;
}

void
sl_batch_slow_down(void)
{
	rows_per_statement = FIRST_ROWS;
}

/* Puts an event among the rows that wait. */
static void
insert_plainly(SlBatch *batch, SlEvent *event, const SlSource *source)
{
	/* Its key is made of the keys before it. */
	if (sl_is_timeless_change(event) || (batch->n_rows > 0 && batch->role != source->role))
		insert_waiting(batch);
	if (batch->rows == NULL)
		batch->rows = palloc(sizeof(SlEventRow) * Max(rows_per_statement, 1));
	batch->role = source->role;
	batch->row_request = batch->now_request;
	batch->row_event = batch->now_event;
	sl_event_row(event, source, &batch->rows[batch->n_rows++]);
	if (batch->n_rows >= rows_per_statement)
		insert_waiting(batch);
}

/*
 * May an error be recorded now, or must the whole transaction be given up because of it? A trigger may
 * fail with any code, so what it throws is never taken for the server's trouble: if the server is in
 * trouble indeed, the recording fails as well.
 */
static bool
is_recordable(const SlBatch *batch, int sqlstate, bool in_users_code)
{
	if (!in_users_code && sl_is_trouble_of_server(sqlstate))
		return false;
	return batch->last_try || !is_passing(sqlstate);
}

/* An event that is tried for itself. */
typedef struct Alone
{
	SlBatch		   *batch;
	SlEvent		   *event;
	const SlSource *source;
	SlEventRow		row;
	bool			in_users_code; /* when it failed */
} Alone;

static void
insert_alone(void *argument)
{
	Alone		*alone = argument;
	volatile int stored = 0;

	sl_event_row(alone->event, alone->source, &alone->row);
	PG_TRY();
	{
		stored = sl_events_insert(&alone->row, 1, alone->source->role, true, NULL);
	}
	PG_FINALLY();
	{
		sl_limit_stop(); /* what is undone after an error is no trigger's time */
		alone->in_users_code = sl_in_users_code;
		sl_in_users_code = false;
	}
	PG_END_TRY();
	alone->batch->stored += stored;
	alone->batch->duplicates += 1 - stored;
}

/* In a subtransaction; what fails is recorded. */
static void
insert_carefully(SlBatch *batch, const SlHttpRequest *request, SlEvent *event,
				 const SlSource *source)
{
	Alone	   alone = {.batch = batch, .event = event, .source = source};
	ErrorData *error = sl_attempt(insert_alone, &alone);

	if (error == NULL)
		return;
	if (!is_recordable(batch, error->sqlerrcode, alone.in_users_code))
		ReThrowError(error);
	record(batch, request, source, event, error);
	FreeErrorData(error);
}

static bool
has_secret(const SlToken *token, const SlEvent *event)
{
	size_t length;

	if (token->secret_key == NULL)
		return true;
	length = strlen(token->secret_key);
	return event->secret_key != NULL && strlen(event->secret_key) == length &&
		   sl_same_bytes(event->secret_key, token->secret_key, length);
}

static void
store_event(SlBatch *batch, const SlHttpRequest *request, SlEvent *event, SlSource *source)
{
	if (!OidIsValid(source->role))
	{
		ErrorData gone = {.sqlerrcode = ERRCODE_UNDEFINED_OBJECT,
						  .message = "the role that subscribed exists no more"};

		record(batch, request, source, event, &gone);
	}
	else if (batch->known_error != NULL && batch->now_request == batch->known_request &&
			 batch->now_event == batch->known_event)
		record(batch, request, source, event, batch->known_error);
	else if (batch->careful)
		insert_carefully(batch, request, event, source);
	else
		insert_plainly(batch, event, source);
}

/* A body that is being read. */
typedef struct Reading
{
	const SlHttpRequest *request;
	SlEvent				*events;
	int					 n;
} Reading;

static void
read_body(void *argument)
{
	Reading				*reading = argument;
	const SlHttpRequest *request = reading->request;
	SlPayload			*payloads;

	reading->n = sl_payload_split(sl_json_build(request->body, request->length), &payloads);
	reading->events = palloc(sizeof(SlEvent) * Max(reading->n, 1));
	for (int i = 0; i < reading->n; i++)
		sl_payload_read(&payloads[i], &reading->events[i]);
}

/* Reads the events of a body. An error: jsonb can't hold it. */
static ErrorData *
read_events(SlBatch *batch, Reading *reading)
{
	ErrorData *error = NULL;

	if (batch->careful)
		error = sl_attempt(read_body, reading);
	else
		read_body(reading);
	if (error != NULL && !is_recordable(batch, error->sqlerrcode, false))
		ReThrowError(error);
	return error;
}

/* Stores what one request brought; returns the status to answer. */
static int
store_request(SlBatch *batch, const SlHttpRequest *request)
{
	const SlToken *token = sl_token_find(request->token_hash, request->received_at);
	SlSource	   source = {.received_at = request->received_at};
	Reading		   reading = {.request = request};
	ErrorData	  *error;

	if (token == NULL)
		return 404;
	source.connection = token->connection;
	source.webhook = token->webhook;
	source.role = sl_working_role(token->subscriber);
	source.request_id = request->request_id[0] == '\0' ? NULL : request->request_id;
	batch->events++;
	error = read_events(batch, &reading);
	if (error != NULL && token->secret_key != NULL)
	{
		/* It holds no secret that could be looked at, so nobody knows who has sent it. */
		batch->events--;
		return 401;
	}
	if (error != NULL)
	{
		record(batch, request, &source, NULL, error);
		return 200;
	}
	batch->events += reading.n - 1;
	for (int i = 0; i < reading.n; i++)
		if (!has_secret(token, &reading.events[i]))
		{
			batch->events -= reading.n;
			return 401;
		}
	for (int i = 0; i < reading.n; i++)
	{
		/* One request's id can't tell its events apart. */
		if (i > 0 && request->request_id[0] != '\0')
			source.request_id = psprintf("%s#%d", request->request_id, i);
		batch->now_event = i;
		store_event(batch, request, &reading.events[i], &source);
	}
	return 200;
}

ErrorData *
sl_batch_run(SlBatch *batch)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *volatile error = NULL;
	int64 start = sl_now_us();

	if (run_context == NULL)
		run_context = AllocSetContextCreate(TopMemoryContext, "smartlead transaction", KEPT_BYTES,
											ALLOCSET_DEFAULT_INITSIZE, ALLOCSET_DEFAULT_MAXSIZE);
	batch->done = batch->events = batch->stored = batch->duplicates = batch->failed = 0;
	batch->bytes = 0;
	batch->uncertain = false;
	batch->rows = NULL;
	batch->n_rows = 0;
	batch->committing = false;
	sl_in_users_code = false;
	pgstat_report_activity(STATE_RUNNING, "storing events");
	PG_TRY();
	{
		begin_transaction();
		lock_table();
		while (batch->done < batch->n &&
			   (batch->done == 0 || (sl_now_us() - start < LONG_US && batch->bytes < LARGE_BYTES)))
		{
			MemoryContextSwitchTo(run_context); /* each use of SPI leads out of it */
			batch->bytes += batch->requests[batch->done]->length;
			batch->now_request = batch->done;
			batch->now_event = 0;
			batch->status[batch->done] = store_request(batch, batch->requests[batch->done]);
			batch->done++;
		}
		insert_waiting(batch);
		if (batch->stored == 0 && batch->failed == 0)
			write_something();
		batch->committing = true;
		batch->uncertain = !commit_transaction();
	}
	PG_CATCH();
	{
		error = end_failed_transaction(caller);
		/* Only notifications have a limit that shows at the commit alone. */
		if (batch->committing && error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			sl_events_be_silent();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextReset(run_context);
	pgstat_report_activity(STATE_IDLE, NULL);
	return error;
}

bool
sl_try_commit(void)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool worked = true;

	PG_TRY();
	{
		begin_transaction();
		write_something();
		worked = commit_transaction();
	}
	PG_CATCH();
	{
		FreeErrorData(end_failed_transaction(caller));
		worked = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return worked;
}
