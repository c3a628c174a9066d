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
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum status signer_want(struct signer *s, struct version *v, const struct node *n, struct rrset *rs)
{
	if (v->keys == NULL || !signer_covers(n, rs)) {
		return ST_ENOTSUP;
	}
	for (;;) {
		if (rrset_sigs(rs) != NULL) {
			return ST_OK;
		}
		if (sign_claim(rs)) {
			return sign_start(s, v, n, rs, NULL);
		}
		atomic_store(&rs->sig_wanted, 1);
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
