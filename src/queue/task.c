/*
 * queue/task.c
 *		A task: one job, or several that share a request, on the way to Smartlead and back.
 *
 * A task takes one request or several, one after the other: first perhaps the question that the
 * endpoint's completion asks, then the action itself, for a long list in parts. Nothing here waits
 * and nothing throws: what goes wrong is the task's result.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "api/complete.h"
#include "queue/join.h"
#include "queue/queue.h"
#include "queue/rights.h"
#include "queue/store.h"
#include "queue/task.h"

static const SlPageRange no_page = {0, 0};

/* ---- results ---- */

/* An error was thrown while the task was worked on: it is the task's result. */
static void
fail_with_error(SlTask *task)
{
	ErrorData	 *error;
	MemoryContext caller = MemoryContextSwitchTo(task->context);

	error = CopyErrorData();
	FlushErrorState();
	MemoryContextSwitchTo(caller);
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(error);
	/* Of a request that is not to be sent, or may be sent again, each job learns by itself. */
	if (task->n_jobs > 1 && task->result.verdict != SL_DONE_WELL &&
		(task->transfer == NULL || sl_task_is_repeatable(task)))
		task->result.verdict = SL_SPLIT;
	else if (task->result.verdict != SL_DONE_WELL) /* else only the answer could not be kept */
		task->result.verdict = SL_FAILED;
	task->result.sqlstate = error->sqlerrcode;
	task->result.error = error->message;
}

/* ---- setting up ---- */

static SlConnection *
copy_connection(const SlConnection *connection)
{
	SlConnection *copy = palloc(sizeof(SlConnection));

	*copy = *connection;
	copy->name = pstrdup(connection->name);
	for (int host = 0; host < SL_N_HOSTS; host++)
		if (connection->url[host] != NULL)
			copy->url[host] = pstrdup(connection->url[host]);
	copy->api_key = pstrdup(connection->api_key);
	copy->ca_file = connection->ca_file != NULL ? pstrdup(connection->ca_file) : NULL;
	copy->max_retries = 0; /* the queue has its own way */
	return copy;
}

static void
copy_job(SlJob *copy, const SlJob *job)
{
	*copy = *job;
	copy->action = pstrdup(job->action);
	copy->args = NULL; /* they are in the arguments */
	copy->join_key = job->join_key != NULL ? pstrdup(job->join_key) : NULL;
}

/* The names of the arguments. */
static int
argument_names(const SlJob *job, const char **names)
{
	int				   n = 0;
	JsonbIterator	  *iterator = JsonbIteratorInit(&job->args->root);
	JsonbIteratorToken token;
	JsonbValue		   value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY && n < FUNC_MAX_ARGS)
			names[n++] = pnstrdup(value.val.string.val, value.val.string.len);
	return n;
}

/* Throws if the role has no right to the action any more. InvalidOid: nobody asks for it now. */
static SlArguments *
arguments_of(const SlJob *job, Oid role)
{
	const char		 *names[FUNC_MAX_ARGS];
	int				  n = argument_names(job, names);
	const SlEndpoint *endpoint = sl_endpoint_find(job->action, names, n);
	SlArguments		 *arguments;

	if (endpoint == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" can't be called with these arguments", job->action)));
	if (OidIsValid(role))
		sl_rights_check(sl_store_schema(), endpoint, names, n, role);
	arguments = sl_arguments(endpoint);
	sl_arguments_set_jsonb(arguments, job->args);
	sl_arguments_check(arguments);
	return arguments;
}

static SlTask *
new_task(MemoryContext parent)
{
	MemoryContext context =
		AllocSetContextCreate(parent, "smartlead queue task", ALLOCSET_SMALL_SIZES);
	SlTask *task = MemoryContextAllocZero(context, sizeof(SlTask));

	task->context = context;
	task->result.retry_after = -1;
	return task;
}

SlTask *
sl_task_create(MemoryContext parent, const SlConnection *connection, const SlJob *job)
{
	SlTask		 *task = new_task(parent);
	MemoryContext caller = MemoryContextSwitchTo(task->context);

	task->jobs = palloc(sizeof(SlJob));
	copy_job(&task->jobs[0], job);
	task->n_jobs = task->n_shared = 1;
	PG_TRY();
	{
		task->connection = copy_connection(connection);
		task->arguments = arguments_of(job, connection->user);
	}
	PG_CATCH();
	{
		fail_with_error(task);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return task;
}

SlTask *
sl_task_create_probe(MemoryContext parent, const SlConnection *connection)
{
	SlTask		 *task = new_task(parent);
	MemoryContext caller = MemoryContextSwitchTo(task->context);

	task->is_probe = true;
	task->connection = copy_connection(connection);
	task->arguments = sl_arguments(sl_endpoint_find("list_lead_categories", NULL, 0));
	MemoryContextSwitchTo(caller);
	return task;
}

bool
sl_task_join(SlTask *task, const SlJob *job)
{
	MemoryContext caller;
	volatile bool joined = false;

	if (task->result.verdict != SL_UNDECIDED || task->jobs[0].join_key == NULL ||
		job->join_key == NULL || strcmp(task->jobs[0].join_key, job->join_key) != 0)
		return false;
	caller = MemoryContextSwitchTo(task->context);
	PG_TRY();
	{
		joined = sl_join_add(task->arguments, arguments_of(job, task->connection->user));
	}
	PG_CATCH();
	{
		/* It fails by itself, in a task of its own. */
		FlushErrorState();
	}
	PG_END_TRY();
	if (joined)
	{
		if ((task->n_jobs & (task->n_jobs - 1)) == 0)
			task->jobs = repalloc(task->jobs, sizeof(SlJob) * task->n_jobs * 2);
		copy_job(&task->jobs[task->n_jobs++], job);
		task->n_shared++;
	}
	MemoryContextSwitchTo(caller);
	return joined;
}

/* ---- sending ---- */

static void
build_request(SlTask *task)
{
	int unused;

	if (task->is_completing)
		task->request =
			sl_request_build(task->connection, task->question, no_page, false, 0, &unused);
	else
		task->request =
			sl_request_build(task->connection, task->arguments, no_page, task->alternative,
							 task->first_element, &task->next_element);
	task->request->priority = SL_RATE_BACKGROUND;
}

void
sl_task_prepare(SlTask *task)
{
	MemoryContext caller;

	if (task->result.verdict != SL_UNDECIDED)
		return;
	caller = MemoryContextSwitchTo(task->context);
	PG_TRY();
	{
		task->question = sl_complete_ask(task->connection, task->arguments);
		task->is_completing = task->question != NULL;
		build_request(task);
	}
	PG_CATCH();
	{
		fail_with_error(task);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

void
sl_task_start(SlTask *task)
{
	MemoryContext caller = MemoryContextSwitchTo(task->context);

	task->transfer = sl_transfer_start(task->request);
	task->done_at = 0;
	MemoryContextSwitchTo(caller);
}

bool
sl_task_is_repeatable(const SlTask *task)
{
	return task->arguments == NULL || task->arguments->endpoint->repeatable;
}

void
sl_task_free(SlTask *task)
{
	MemoryContextDelete(task->context);
}

/* ---- judging ---- */

/* Jobs that share a request: is the refusal perhaps one job's alone? */
static void
refuse(SlTask *task)
{
	task->result.verdict = task->n_jobs > 1 ? SL_SPLIT : SL_FAILED;
}

/* Deleted by an attempt whose answer never came: what is not found now was found then. */
static bool
is_gone_as_wanted(const SlTask *task, const SlProblem *problem)
{
	return problem->sqlstate == SL_ERRCODE_NOT_FOUND && problem->said != NULL &&
		   !task->is_completing && task->n_jobs == 1 && task->jobs[0].in_doubt &&
		   task->arguments->endpoint->method == SL_DELETE;
}

static void
try_later(SlTask *task, SlTrouble trouble, bool in_doubt)
{
	task->result.verdict = SL_TRY_LATER;
	task->result.trouble = trouble;
	task->result.in_doubt = in_doubt && !task->is_completing;
}

/* Smartlead says in JSON what it doesn't permit; a front between us has pages of its own. */
static bool
is_from_a_front(const SlAnswer *answer)
{
	return answer->status == 403 && answer->root == NULL;
}

static void
judge_problem(SlTask *task, const SlAnswer *answer, const SlResponse *response)
{
	const SlProblem *problem = answer->problem;

	task->result.sqlstate = problem->sqlstate;
	task->result.error = problem->detail == NULL
							 ? problem->message
							 : psprintf("%s: %s", problem->message, problem->detail);
	task->result.retry_after = response->retry_after;
	if (is_gone_as_wanted(task, problem))
		task->result.verdict = SL_DONE_WELL;
	else if (response->outcome == SL_NOT_SENT)
		try_later(task, SL_TROUBLE_OF_ALL, false);
	else if (is_from_a_front(answer))
		try_later(task, SL_TROUBLE_OF_SOME, false);
	else
		switch (problem->sqlstate)
		{
			case SL_ERRCODE_BAD_KEY:
				try_later(task, SL_TROUBLE_REFUSED, false);
				break;
			case SL_ERRCODE_NO_PERMISSION:
				try_later(task, SL_TROUBLE_DENIED, false);
				break;
			case SL_ERRCODE_THROTTLED:
				try_later(task, SL_TROUBLE_OF_ALL, false);
				break;
			case SL_ERRCODE_TIMEOUT:
			case SL_ERRCODE_UNAVAILABLE:
			case SL_ERRCODE_UNREADABLE:
				try_later(task, SL_TROUBLE_OF_SOME, true);
				if (!task->request->repeatable)
					task->result.verdict = SL_FAILED;
				break;
			case SL_ERRCODE_UNKNOWN_OUTCOME:
				try_later(task, SL_TROUBLE_OF_SOME, true);
				task->result.verdict = SL_FAILED;
				break;
			default:
				refuse(task);
				break;
		}
}

/*
 * What Smartlead answered: JSON as it is, a plain text as a JSON string, nothing as NULL. Of a lookup
 * the object that was found.
 */
static Jsonb *
response_of(const SlAnswer *answer, SlKind kind)
{
	JsonbValue text;

	if (kind == SL_LOOKUP)
		return sl_answer_object(answer) != NULL ? sl_json_to_jsonb(sl_answer_object(answer)) : NULL;
	if (answer->root != NULL)
		return sl_json_to_jsonb(answer->root);
	if (answer->text == NULL || answer->text[0] == '\0' ||
		!pg_verify_mbstr(PG_UTF8, answer->text, strlen(answer->text), true))
		return NULL;
	text.type = jbvString;
	text.val.string.val = pg_any_to_server(answer->text, strlen(answer->text), PG_UTF8);
	text.val.string.len = strlen(text.val.string.val);
	return JsonbValueToJsonb(&text);
}

/* The request succeeded: is it the last one? */
static void
go_on(SlTask *task, const SlAnswer *answer)
{
	if (task->is_completing)
	{
		task->arguments->endpoint->completion->take(task->connection, task->arguments, answer);
		task->is_completing = false;
		if (task->n_jobs == 1 && task->jobs[0].lead_id == 0)
			task->learnt_lead = sl_queue_lead(task->arguments);
	}
	else if (task->next_element > 0)
		task->first_element = task->next_element;
	else
		task->result.verdict = SL_DONE_WELL;
	if (task->result.verdict == SL_DONE_WELL && !task->is_probe)
		task->result.response = response_of(answer, task->arguments->endpoint->kind);
}

static void
judge(SlTask *task, const SlResponse *response)
{
	const SlEndpoint *endpoint =
		task->is_completing ? task->question->endpoint : task->arguments->endpoint;
	SlAnswer *answer =
		sl_answer_read(task->request, endpoint->kind, endpoint->has_passwords, response);

	if (answer->problem == NULL)
		go_on(task, answer);
	else if (!task->alternative && !task->is_completing &&
			 sl_answer_refuses_name(answer, task->arguments))
		task->alternative = true;
	else
	{
		sl_complete_forget(task->connection, task->arguments);
		judge_problem(task, answer, response);
	}
}

void
sl_task_advance(SlTask *task)
{
	MemoryContext caller = MemoryContextSwitchTo(task->context);

	PG_TRY();
	{
		judge(task, sl_transfer_poll(task->transfer));
		sl_transfer_free(task->transfer);
		task->transfer = NULL;
		if (task->result.verdict == SL_UNDECIDED)
			build_request(task);
	}
	PG_CATCH();
	{
		fail_with_error(task);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}
