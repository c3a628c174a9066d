/* The control socket's inside. Main thread, but for a dump's thread between chunks. Private to
 * control*.c. */
#pragma once

#include "nsd-core/base/inbox.h"
#include "nsd-core/builder.h"
#include "nsd-core/control.h"
#include "nsd-core/control_reply.h"
#include "nsd-core/control_syntax.h"

#include <sys/types.h>

#define CONTROL_CLIENTS_MAX 32
#define CONTROL_DUMPS_MAX   2
#define CONTROL_IDLE_MS	    30000 /* for a request to come, or a piece of a reply to go */
#define CONTROL_RATE_MS	    5000

/* Lives until its handles are closed and no request of it is under way. */
struct connection {
	uv_pipe_t pipe;
	uv_timer_t idle;
	struct control *control;
	struct connection *prev, *next;
	unsigned refs;
	unsigned writes; /* under way */
	bool busy;	 /* a request is under way */
	bool ended;	 /* the client will send no more */
	bool closing;	 /* nothing is written any more */
	size_t used;
	char in[CONTROL_REQUEST_MAX];
};

struct request {
	struct connection *conn;
	json_t *root; /* what cmd borrows from */
	struct command cmd;
	struct reply reply;
	/* 'zone reload' of all zones. */
	size_t waits, loaded, same, failed;
	json_t *failures;
};

struct control {
	uv_loop_t *loop;
	const struct conf *conf;
	struct zonemgr *mgr;
	const struct notifier *notifier; /* NULL: nobody is told of anything */
	const struct monitor *monitor;	 /* NULL: nobody is watched */
	struct workers *workers;	 /* NULL in tests */
	void (*stop)(void *ctx);
	void *stop_ctx;

	uv_pipe_t listener;
	uv_timer_t rate;
	struct inbox inbox; /* from dumps */
	unsigned refs;	    /* the handles, as one, and the connections */
	bool stopping;
	bool accept_late; /* a connection waits that there was no memory for */
	dev_t socket_device;
	ino_t socket_inode;

	struct connection *clients;
	size_t client_count;
	struct builder *dumpers;
	struct dump *dumps[CONTROL_DUMPS_MAX];

	struct builder *probers;
	struct probing *probings; /* those under way */
	_Atomic(bool) probe_stop;

	int64_t started_ms;
	int64_t started_s;
	/* Queries answered until then: the oldest is 5 to 10 s ago. */
	struct {
		int64_t at_ms;
		uint64_t queries;
	} rates[2];
};

/* control.c. Ends the request: sends its reply and frees it. */
void request_finish(struct request *r);
/* Writes 'line' (heap, taken) unless the connection is gone; done (may be NULL) is called in any
 * case, on the loop, ok: it is written. */
typedef void (*connection_written)(void *ctx, bool ok);
void connection_write(struct connection *c, char *line, size_t len, connection_written done,
		      void *ctx);
uint64_t control_queries(const struct control *c);

/* control_commands.c. Runs the command; request_finish() is called now or later. */
void command_run(struct request *r);
/* control_status.c */
void status_run(struct request *r);
void zone_list_run(struct request *r);
void zone_show_run(struct request *r, struct zone *zone);
/* control_keystores.c: one line for each keystore, and its JSON into 'list'. */
void keystores_print(const struct control *c, FILE *f, json_t *list);
void keystore_list_run(struct request *r);
/* 'keystore check', 'keystore bench' and 'keystore delete'. */
void keystore_probe_run(struct request *r);
enum status probers_start(struct control *c) MUST_USE;
/* Ends them all, once; after it the threads may be freed. */
void probers_stop(struct control *c);
/* control_secondaries.c: a row, and an entry of the list, for each address that is told. */
void secondaries_rows(const struct control *c, const struct zone *zone, struct table *t);
json_t *secondaries_json(const struct control *c, const struct zone *zone);
/* Is something wrong with one of them? */
bool secondaries_in_trouble(const struct control *c, const struct zone *zone);
/* What is wrong, a line for each. */
void secondaries_troubles(const struct control *c, const struct zone *zone, FILE *f);
/* What is kept for them, and what was sent; null, and no rows, of a zone without. */
void journal_rows(const struct zone *zone, struct table *t);
json_t *journal_json(const struct zone *zone);
/* control_dump.c */
void dump_run(struct request *r, struct zone *zone);
/* Ends all dumps and their threads. */
void dumps_stop(struct control *c);
