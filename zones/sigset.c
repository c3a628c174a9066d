/* The signatures of one RRset. */
#include "nsd-core/base/clock.h"
#include "zones/rdata.h"
#include "zones/rrset.h"
#include "zones/slab.h"

#include <stddef.h>
#include <stdlib.h>

/* Sets up to this many signatures are sorted without malloc. */
#define SORT_ON_STACK 16

static int compare_octets(const void *a, const void *b)
{
	const struct bytes *x = a;
	const struct bytes *y = b;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);
	if (order != 0) {
		return order;
	}
	return x->len < y->len ? -1 : x->len > y->len;
}

static struct sigset *sigset_alloc(size_t size)
{
	struct sigset *set = malloc(sizeof(*set) + size);
	if (set != NULL) {
		*set = (struct sigset){.count = 0};
	}
	return set;
}

/* Does the rest say all that the RDATA has before the signature? */
static bool may_be_short(const struct rrset *rs, const uint8_t *apex, struct bytes rdata)
{
	struct rrsig sig;
	size_t apex_len = name_len(apex);
	if (rdata.len != RRSIG_FIXED_LEN + apex_len + SIG_SHORT_LEN ||
	    rrsig_parse(rdata, &sig) != ST_OK) {
		return false;
	}
	return sig.type_covered == rs->type && sig.algorithm == ALG_ECDSAP256SHA256 &&
	       sig.original_ttl == rs->ttl && sig.signature.len == SIG_SHORT_LEN &&
	       memcmp(sig.signer, apex, apex_len) == 0;
}

static void put_short(struct sigset *set, const struct sigset_fields *f, uint8_t flags)
{
	struct sigset_short *sig = (struct sigset_short *)set->data;
	set->inception = f->inception;
	set->expiration = f->expiration;
	set->count = 1;
	set->flags = SIGSET_SHORT | flags;
	set->labels = f->labels;
	sig->tag = f->tag;
	sig->signer_len = f->signer_len;
	memcpy(sig->signature, f->signature, SIG_SHORT_LEN);
	/* Sets are compared octet for octet. */
	memset((uint8_t *)sig + offsetof(struct sigset_short, signature) + SIG_SHORT_LEN, 0,
	       sizeof(*sig) - offsetof(struct sigset_short, signature) - SIG_SHORT_LEN);
}

static enum status new_short(struct bytes rdata, struct sigset **out)
{
	struct rrsig sig;
	enum status st = rrsig_parse(rdata, &sig);
	if (st != ST_OK) {
		return st;
	}
	const struct sigset_fields f = {
		.inception = sig.inception,
		.expiration = sig.expiration,
		.tag = sig.key_tag,
		.labels = sig.labels,
		.signer_len = (uint8_t)name_len(sig.signer),
		.signature = sig.signature.data,
	};
	struct sigset *set = sigset_alloc(sizeof(struct sigset_short));
	if (set == NULL) {
		return ST_ENOMEM;
	}
	put_short(set, &f, 0);
	*out = set;
	return ST_OK;
}

static enum status sum_up(const struct bytes *rrsigs, size_t count, struct sigset *set)
{
	for (size_t i = 0; i < count; i++) {
		struct rrsig sig;
		enum status st = rrsig_parse(rrsigs[i], &sig);
		if (st != ST_OK) {
			return st;
		}
		/* Times are serial numbers (RFC 4034 3.1.5). */
		if (i == 0 || serial_gt(sig.inception, set->inception)) {
			set->inception = sig.inception;
		}
		if (i == 0 || serial_gt(set->expiration, sig.expiration)) {
			set->expiration = sig.expiration;
		}
	}
	set->count = (uint16_t)count;
	return ST_OK;
}

static enum status new_whole(const struct bytes *sorted, size_t count, struct sigset **out)
{
	size_t size = rdatas_size(sorted, count);
	if (size == 0) {
		return ST_EPARSE;
	}
	struct sigset *set = sigset_alloc(sizeof(uint32_t) + size);
	if (set == NULL) {
		return ST_ENOMEM;
	}
	enum status st = sum_up(sorted, count, set);
	if (st != ST_OK) {
		free(set);
		return st;
	}
	set->data[0] = (uint32_t)size;
	rdatas_put((uint8_t *)&set->data[1], sorted, count);
	*out = set;
	return ST_OK;
}

enum status sigset_new(const struct rrset *rs, const uint8_t *apex, const struct bytes *rrsigs,
		       size_t count, struct sigset **out)
{
	struct bytes few[SORT_ON_STACK];
	struct bytes *sorted = few;
	if (count == 1 && may_be_short(rs, apex, rrsigs[0])) {
		return new_short(rrsigs[0], out);
	}
	if (count > SORT_ON_STACK) {
		sorted = malloc(count * sizeof(*sorted));
		if (sorted == NULL) {
			return ST_ENOMEM;
		}
	}
	/* In one order, so that equal sets are equal octet for octet. */
	memcpy(sorted, rrsigs, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_octets);
	enum status st = new_whole(sorted, count, out);
	if (sorted != few) {
		free(sorted);
	}
	return st;
}

enum status sigset_cut(struct cutter *c, const struct sigset_fields *f, struct sigset **out)
{
	struct sigset *set = cutter_cut(c, sizeof(*set) + sizeof(struct sigset_short));
	if (set == NULL) {
		return ST_ENOMEM;
	}
	put_short(set, f, SIGSET_CUT);
	*out = set;
	return ST_OK;
}

static size_t data_len(const struct sigset *s)
{
	return sigset_is_short(s) ? sizeof(struct sigset_short) : sizeof(uint32_t) + s->data[0];
}

enum status sigset_copy(const struct sigset *from, struct sigset **out)
{
	size_t len = data_len(from);
	struct sigset *set = sigset_alloc(len);
	if (set == NULL) {
		return ST_ENOMEM;
	}
	*set = *from;
	set->flags &= (uint8_t)~SIGSET_CUT;
	memcpy(set->data, from->data, len);
	*out = set;
	return ST_OK;
}

void sigset_free(struct sigset *s)
{
	if (s != NULL && (s->flags & SIGSET_CUT) != 0) {
		slab_free_piece(s);
	} else {
		free(s);
	}
}

bool sigset_equal(const struct sigset *a, const struct sigset *b)
{
	return ((a->flags ^ b->flags) & SIGSET_SHORT) == 0 && a->inception == b->inception &&
	       a->expiration == b->expiration && a->labels == b->labels &&
	       data_len(a) == data_len(b) && memcmp(a->data, b->data, data_len(a)) == 0;
}

struct bytes sigset_data(const struct sigset *s, const struct rrset *rs, const uint8_t *apex,
			 uint8_t *buf)
{
	const struct sigset_short *sig = sigset_short(s);
	if (!sigset_is_short(s)) {
		return (struct bytes){(const uint8_t *)&s->data[1], s->data[0]};
	}
	uint8_t *rdata = buf + 2;
	sigset_put_fixed(s, rs, rdata);
	memcpy(rdata + RRSIG_FIXED_LEN, apex, sig->signer_len);
	memcpy(rdata + RRSIG_FIXED_LEN + sig->signer_len, sig->signature, SIG_SHORT_LEN);
	size_t len = RRSIG_FIXED_LEN + sig->signer_len + (size_t)SIG_SHORT_LEN;
	be16_put(buf, (uint16_t)len);
	return (struct bytes){buf, 2 + len};
}
