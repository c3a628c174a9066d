#include "nsd-core/tls_keeper.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/base/text.h"
#include "nsd-core/log.h"

#include <stdlib.h>

#define LOOK_MS	  (60U * 1000)
#define DAY_S	  86400
#define WARN_S	  (14 * DAY_S)
#define DIAGS_MAX 4

struct tls_keeper {
	uv_timer_t timer;
	struct tls_context *context;
	bool failed;	/* when they were looked at last; it was told */
	int64_t warn_s; /* not again before */
};

/* Once a day from two weeks before the end on. */
static void warn_of_end(struct tls_keeper *k)
{
	int64_t now_s = clock_wall_s();
	int64_t end_s = tls_context_not_after(k->context);
	char text[24];

	if (end_s - now_s > WARN_S || now_s < k->warn_s) {
		return;
	}
	k->warn_s = now_s + DAY_S;
	time_to_text(end_s, text);
	if (end_s <= now_s) {
		log_error("TLS: the certificate ended at %s: secondaries that check it get no zone",
			  text);
	} else {
		log_warn("TLS: the certificate ends at %s", text);
	}
}

/* Once for each fault that lasts, and again when somebody asks. */
static void look(struct tls_keeper *k)
{
	struct diags d;

	diags_init(&d, DIAGS_MAX);
	enum status st = tls_context_refresh(k->context, &d);
	if (st == ST_OK) {
		log_info("TLS: the certificate was read again");
		k->warn_s = 0;
	} else if (st != ST_ENOENT && !k->failed) {
		log_diags(&d);
		log_error("TLS: the certificate that was read before stays in use");
	}
	k->failed = st != ST_OK && st != ST_ENOENT;
	diags_fini(&d);
	warn_of_end(k);
}

void tls_keeper_look(struct tls_keeper *k)
{
	k->failed = false;
	look(k);
}

static void on_timer(uv_timer_t *timer)
{
	look(container_of(timer, struct tls_keeper, timer));
}

enum status tls_keeper_start(uv_loop_t *loop, struct tls_context *context, struct tls_keeper **out)
{
	struct tls_keeper *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		return ST_ENOMEM;
	}
	k->context = context;
	uv_timer_init(loop, &k->timer);
	uv_timer_start(&k->timer, on_timer, LOOK_MS, LOOK_MS);
	warn_of_end(k);
	*out = k;
	return ST_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(container_of((uv_timer_t *)handle, struct tls_keeper, timer));
}

void tls_keeper_stop(struct tls_keeper *k)
{
	if (k != NULL) {
		uv_close((uv_handle_t *)&k->timer, on_closed);
	}
}
