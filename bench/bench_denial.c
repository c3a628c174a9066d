/* What chains of NSECs and NSEC3s cost, without their signatures.
 *
 * usage: bench_denial [NAMES]. Makes a zone of NAMES names (default 10000) with each kind of chain,
 * changes it from one to another, and adds single records, each as a version of its own: put,
 * prepare, freeze, publish, drop the old one. Prints times and memory. */
#include "signer/signer.h"
#include "zones/content.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CHANGES 1000

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void check(enum status st, const char *what)
{
	if (st != ST_OK) {
		fprintf(stderr, "%s: %s\n", what, status_text(st));
		exit(1);
	}
}

static const uint8_t apex[] = "\5bench\4test";
static const char *const kinds[] = {
	[SIGN_NSEC] = "NSEC", [SIGN_NSEC3] = "NSEC3", [SIGN_NSEC3_OPT_OUT] = "NSEC3, opt-out"};

static size_t host_name(size_t number, uint8_t *name)
{
	int len = snprintf((char *)name + 1, 32, "host%08zu", number);
	name[0] = (uint8_t)len;
	memcpy(name + 1 + len, apex, sizeof(apex));
	return 1 + (size_t)len + sizeof(apex);
}

static void add(struct content *c, const uint8_t *owner, uint16_t type, const void *rdata,
		size_t len)
{
	struct place place = {0};
	check(content_add(c, owner, type, 3600, (struct bytes){rdata, len}, place), "content_add");
}

static void make_content(struct content *c, size_t names)
{
	static const uint8_t soa[] = "\2ns\0\2hm\0"
				     "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0";
	static const uint8_t ns[] = "\2ns";
	uint8_t name[NAME_MAX_LEN];
	content_init(c, apex);
	add(c, apex, RR_SOA, soa, 28);
	add(c, apex, RR_NS, ns, 4);
	for (size_t i = 1; i < names; i++) {
		uint8_t address[4];
		be32_put(address, (uint32_t)i);
		host_name(i * 2, name);
		add(c, name, RR_A, address, 4);
	}
	check(content_sort(c), "content_sort");
}

static struct keyset *make_keys(void)
{
	struct keyset *ks = calloc(1, sizeof(*ks));
	if (ks == NULL) {
		check(ST_ENOMEM, "keys");
	} else {
		atomic_init(&ks->refs, 1);
		memcpy(ks->apex, apex, sizeof(apex));
		ks->params.dnskey_ttl = 3600;
		ks->count = 1;
		ks->keys[0].role = KEY_CSK;
		ks->keys[0].state = KEY_ACTIVE;
		ks->keys[0].flags = 257;
	}
	return ks;
}

/* Takes the draft. */
static struct version *finish(struct draft *d, struct keyset *ks, enum sign_denial denial)
{
	struct freeze f = {.denial = denial == SIGN_NSEC ? DENIAL_NSEC : DENIAL_NSEC3,
			   .is_signed = true,
			   .keys = keyset_ref(ks),
			   .keys_unref = keyset_unref};
	struct version *v;
	check(signer_prepare_draft(d, ks, false, denial), "signer_prepare_draft");
	check(draft_freeze(d, &f, &v), "draft_freeze");
	draft_free(d);
	return v;
}

struct watch {
	int64_t cpu, wall;
	size_t bytes;
};

static struct watch watch_now(void)
{
	struct mallinfo2 m = mallinfo2();
	return (struct watch){now_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns(CLOCK_MONOTONIC),
			      m.uordblks + m.hblkhd};
}

static void tell(const char *what, const char *kind, const struct watch *since, size_t names)
{
	struct watch w = watch_now();
	printf("%-10s %-16s %10zu names %8.1f ms %8.1f ms of CPU %8.1f bytes/name\n", what, kind,
	       names, (double)(w.wall - since->wall) / 1e6, (double)(w.cpu - since->cpu) / 1e6,
	       ((double)w.bytes - (double)since->bytes) / (double)names);
}

static struct version *make(size_t names, struct keyset *ks, enum sign_denial denial)
{
	struct content c;
	struct draft *d;
	make_content(&c, names);
	check(draft_new(apex, NULL, &d), "draft_new");
	check(draft_keep_chain(d, denial == SIGN_NSEC), "draft_keep_chain");
	check(draft_take(d, &c, true), "draft_take");
	struct watch w = watch_now();
	struct version *v = finish(d, ks, denial);
	tell("make", kinds[denial], &w, names);
	return v;
}

static struct version *turn(struct version *v, size_t names, struct keyset *ks,
			    enum sign_denial denial)
{
	struct draft *d;
	struct watch w = watch_now();
	check(draft_new(apex, v, &d), "draft_new");
	struct version *next = finish(d, ks, denial);
	version_succeed(v, next);
	version_unref(v);
	tell("turn into", kinds[denial], &w, names);
	return next;
}

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static struct version *edit(struct version *v, size_t names, struct keyset *ks,
			    enum sign_denial denial)
{
	static int64_t times[CHANGES];
	uint64_t random = 1;
	for (size_t i = 0; i < CHANGES; i++) {
		uint8_t name[NAME_MAX_LEN];
		struct draft *d;
		struct rrset *rs;
		random = random * UINT64_C(6364136223846793005) + 1;
		/* Odd numbers are free; i alone makes it another one each time. */
		host_name((size_t)((random >> 33) % names) / CHANGES * CHANGES * 2 + i * 2 + 1,
			  name);
		int64_t start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
		check(draft_new(apex, v, &d), "draft_new");
		check(rrset_new(RR_A, 3600, &(struct bytes){name + 1, 4}, 1, &rs), "rrset_new");
		check(draft_put(d, name, rs), "draft_put");
		struct version *next = finish(d, ks, denial);
		version_succeed(v, next);
		times[i] = now_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
		version_unref(v);
		v = next;
	}
	qsort(times, CHANGES, sizeof(times[0]), compare_times);
	printf("%-10s %-16s %10d times %10" PRId64 " ns median %10" PRId64 " ns worst\n", "edit",
	       kinds[denial], CHANGES, times[CHANGES / 2], times[CHANGES - 1]);
	return v;
}

int main(int argc, char **argv)
{
	size_t names = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 10000;
	if (names < 2 || names > 10000000) {
		fprintf(stderr, "usage: bench_denial [NAMES]\n");
		return 2;
	}
	struct keyset *ks = make_keys();
	struct version *v = make(names, ks, SIGN_NSEC);
	v = edit(v, names, ks, SIGN_NSEC);
	v = turn(v, names, ks, SIGN_NSEC3);
	v = turn(v, names, ks, SIGN_NSEC3_OPT_OUT);
	v = turn(v, names, ks, SIGN_NSEC);
	version_unref(v);
	v = make(names, ks, SIGN_NSEC3);
	v = edit(v, names, ks, SIGN_NSEC3);
	version_unref(v);
	keyset_unref(ks);
	return 0;
}
