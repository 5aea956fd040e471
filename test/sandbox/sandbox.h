/*
 * sandbox.h
 *		An imitation of Smartlead: what its files share.
 *
 * Everything runs in one thread: requests are handled one after the other, and whatever takes time
 * (latency, faults that drip or hang, webhooks under way) waits in the loop of main.c.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>
#include <microhttpd.h>

/* One tenant: what one API key sees. */
typedef struct Workspace
{
	const char *key;
	const char *key_name; /* "alpha": how the log calls the key */
	cJSON	   *campaigns;
	cJSON	   *leads;	 /* the leads themselves */
	cJSON	   *members; /* leads in campaigns */
	cJSON	   *accounts;
	cJSON	   *categories;
	cJSON	   *block_list;
	cJSON	   *clients;
	cJSON	   *webhooks;
	cJSON	   *generated; /* changes to generated leads: {"600001": {"17": {…}}} */
	int64_t		next_id;
} Workspace;

/* What a request asks and what is answered. */
typedef struct Call
{
	struct MHD_Connection *connection;
	const char			  *method;
	char				   path[1024];		  /* below /api/v1, without a slash at the end */
	char				   logged_path[1024]; /* as it came */
	int64_t				   id[4];			  /* the numbers in the path, in their order */
	char				  *raw_body;
	size_t				   raw_length;
	cJSON				  *body; /* NULL: none */
	Workspace			  *workspace;
	char				  *query; /* without the key */
	int64_t				   log_number;

	int					status;
	char			   *answer; /* malloc'ed */
	size_t				answer_length;
	const char		   *content_type;
	char				headers[512]; /* "Name: value\n" lines */
	int					delay_ms;
	const struct Fault *fault;
} Call;

typedef void (*Handler)(Call *call);

/* ---- main.c ---- */
extern int64_t	   big_campaign_size;
extern int64_t	   now_ms(void);
extern const char *query_value(const Call *call, const char *name);

/* ---- reply.c ---- */
extern void reply_json(Call *call, int status, cJSON *json); /* takes the tree */
extern void reply_text(Call *call, int status, const char *content_type, const char *text);
extern void reply_ok(Call *call, const char *extra); /* {"ok":true} in the form of the switch */
extern void reply_error(Call *call, int status, const char *text); /* {"error": text} */
extern void reply_invalid(Call *call, const char *source, const char *key, const char *message);
extern void reply_unknown_route(Call *call);

/*
 * Checks names and types of a body's or a query's members as Joi does: "name:s* id:i?" with s text, i
 * integer, b boolean, o object, a array; * required, ? nullable. False: the refusal is the answer.
 */
extern bool check_body(Call *call, const char *rules);
extern bool check_object(Call *call, const char *what, const cJSON *object, const char *rules);
extern bool check_query(Call *call, const char *rules);

extern const char *text_of(const cJSON *object, const char *name);
extern int64_t	   number_of(const cJSON *object, const char *name, int64_t missing);
extern cJSON	  *add_id(cJSON *object, const char *name, int64_t id, bool as_text);
extern void		   set_item(cJSON *object, const char *name, cJSON *value);
extern cJSON	  *find_by(cJSON *array, const char *name, int64_t value);
extern cJSON	  *list_in_envelope(cJSON *array, const char *name);

/* ---- switches.c ---- */
extern void		   switches_reset(void);
extern bool		   switches_merge(const cJSON *changes, char *why, size_t size);
extern cJSON	  *switches_dump(void);
extern const char *switch_text(const char *name);
extern bool		   switch_is(const char *name, const char *value);
extern bool		   switch_on(const char *name);
extern int64_t	   switch_number(const char *name);

/* ---- state.c: the seeds ---- */
extern Workspace *workspaces_reset(void);
extern void		  shift_reset(void);
extern Workspace *workspace_of(const char *key);
extern int64_t	  generated_size(int64_t campaign_id); /* 0: not a generated campaign */

/* ---- routes.c ---- */
extern void route(Call *call);
extern bool path_matches(const char *pattern, const char *path, int64_t *ids);

/* ---- campaigns.c, leads.c, senders.c, accounts.c, webhooks.c ---- */
extern void	  list_campaigns(Call *call);
extern void	  create_campaign(Call *call);
extern void	  get_campaign(Call *call);
extern void	  delete_campaign(Call *call);
extern void	  set_campaign_status(Call *call);
extern void	  set_campaign_team_member(Call *call);
extern void	  set_campaign_schedule(Call *call);
extern void	  update_campaign_settings(Call *call);
extern void	  save_campaign_sequences(Call *call);
extern void	  campaign_analytics(Call *call);
extern void	  campaign_analytics_by_date(Call *call);
extern void	  list_clients(Call *call);
extern cJSON *campaign_or_404(Call *call, int64_t id);

extern void lead_by_email(Call *call);
extern void lead_by_id(Call *call);
extern void lead_campaigns(Call *call);
extern void list_leads(Call *call);
extern void add_leads(Call *call);
extern void update_lead(Call *call);
extern void delete_lead(Call *call);
extern void pause_lead(Call *call);
extern void resume_lead(Call *call);
extern void set_lead_category(Call *call);
extern void unsubscribe_everywhere(Call *call);
extern void unsubscribe_from_campaign(Call *call);
extern void lead_history(Call *call);
extern void reply_to_lead(Call *call);
extern void list_categories(Call *call);
extern void update_revenue(Call *call);
extern void block_domains(Call *call);
extern void list_blocked(Call *call);
extern void unblock(Call *call);

/* The lead in a campaign as an object of its own, generated or not; NULL: it isn't there. */
extern cJSON *member_copy(Workspace *workspace, int64_t campaign_id, int64_t lead_id);

extern void list_vendors(Call *call);
extern void place_order(Call *call);

extern void list_accounts(Call *call);
extern void get_account(Call *call);
extern void update_account(Call *call);
extern void list_campaign_accounts(Call *call);
extern void add_campaign_accounts(Call *call);
extern void remove_campaign_accounts(Call *call);

extern void list_campaign_webhooks(Call *call);
extern void save_campaign_webhook(Call *call);
extern void delete_campaign_webhook(Call *call);
extern void create_webhook(Call *call);
extern void get_webhook(Call *call);
extern void update_webhook(Call *call);
extern void delete_webhook(Call *call);
extern void webhook_summary(Call *call);
extern void retrigger_webhooks(Call *call);

/* ---- deliver.c: webhooks under way ---- */
extern void	   deliver_init(void);
extern void	   deliver_event(Workspace *workspace, const char *type, int64_t campaign_id,
							 int64_t lead_id, const cJSON *overrides, int64_t bytes);
extern void	   deliver_raw(const char *url, const char *body, const cJSON *headers);
extern void	   deliver_test_event(Workspace *workspace, cJSON *webhook);
extern void	   deliver_run(void);
extern int64_t deliver_next_ms(void); /* when there is something to do; INT64_MAX: never */
extern cJSON  *deliver_dump(void);
extern void	   deliver_reset(void);
extern int	   deliver_pending(void);
extern void	  *deliver_multi(void);
extern int	   deliver_retrigger(Workspace *workspace, int64_t campaign_id);

/* ---- limit.c ---- */
extern void limits_reset(void);
extern bool limit_take(Call *call); /* false: 429 is the answer */

/* ---- log.c ---- */
extern void	   log_reset(void);
extern int64_t log_request(Call *call, int64_t connection, int in_flight, const char *agent,
						   const char *encoding);
extern void	   log_status(int64_t number, int status);
extern cJSON  *log_dump(int64_t since, const char *path);
extern cJSON  *log_counts(void);

/* ---- faults.c ---- */
typedef struct Fault
{
	char		  method[8];
	char		  path[256];
	char		  kind[32];
	int64_t		  times, skip;
	bool		  before_auth;
	int			  status;
	char		 *body;
	char		 *content_type;
	char		 *headers;
	int64_t		  bytes;
	int			  delay_ms;
	int			  depth;
	int			  rows;	 /* of a page, at most; -1: as many as there are */
	cJSON		 *total; /* NULL: as it is; null: none */
	struct Fault *next;
} Fault;

extern void			faults_reset(void);
extern bool			fault_add(const cJSON *json, char *why, size_t size);
extern const Fault *fault_for(const Call *call, bool before_auth);
extern void			fault_apply(Call *call, const Fault *fault);
extern bool fault_performs(const Fault *fault); /* the request is carried out all the same */
extern bool fault_hides(const Call *call, const char *name); /* of the query */

/* ---- control.c ---- */
extern bool control(Call *call); /* true: it was a control route, answered */

#endif /* SANDBOX_H */
