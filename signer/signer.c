#include "signer/sign.h"

#include <stdlib.h>
#include <time.h>

#define BATCH_IN_FLIGHT 256

enum status signer_new(const struct signer_options *opt, struct signer **out)
{
	pthread_condattr_t attr;
	struct signer *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	s->opt = *opt;
	if (s->opt.batch_in_flight == 0) {
		s->opt.batch_in_flight = BATCH_IN_FLIGHT;
	}
	enum status st = flights_init(&s->flights);
	if (st != ST_OK) {
		flights_fini(&s->flights);
		free(s);
		return st;
	}
	/* These cannot fail on Linux. */
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->moved, &attr);
	pthread_condattr_destroy(&attr);
	*out = s;
	return ST_OK;
}

uint64_t signer_made(const struct signer *s)
{
	return atomic_load_explicit(&s->made, memory_order_relaxed);
}

void signer_free(struct signer *s)
{
	if (s == NULL) {
		return;
	}
	flights_fini(&s->flights);
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum status signer_want(struct signer *s, struct version *v, const struct node *n, struct rrset *rs,
			bool urgent)
{
	uint8_t mark = urgent ? SIG_WANTED_TOLD | SIG_WANTED_URGENT : SIG_WANTED_TOLD;

	if (v->keys == NULL || !signer_covers(n, rs)) {
		return ST_ENOTSUP;
	}
	for (;;) {
		if (rrset_sigs(rs) != NULL) {
			return ST_OK;
		}
		if (sign_claim(rs)) {
			struct sign_task task = {
				.version = v, .node = n, .rrset = rs, .urgent = urgent};
			return sign_start(s, &task);
		}
		uint8_t before = atomic_fetch_or(&rs->sig_wanted, mark);
		/* Once; who submits later than this sees the mark. */
		if ((mark & ~before & SIG_WANTED_URGENT) != 0) {
			sign_raise(s, rs);
		}
		if (atomic_load(&rs->sig_state) == SIG_SIGNING) {
			return ST_EBUSY;
		}
		/* It was settled before it could see that somebody waits: look again. */
	}
}

bool signer_signs_here(const struct version *v, const struct node *n, const struct rrset *rs)
{
	return v->keys != NULL && signer_covers(n, rs) && rrsig_keys_in_process(v->keys, rs->type);
}
