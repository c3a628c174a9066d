/* What a change costs in a zone of many names.
 *
 * usage: bench_add [NAMES]. Builds a version of NAMES names (default 10000) with three records to
 * two names from a sorted content, then adds and removes single records, each as a version of its
 * own: put, settle, freeze, publish, drop the old one. Prints times and memory. */
#include "zones/content.h"
#include "zones/draft.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CHANGES 1000

/* Time on the CPU, of all threads: what else the machine does is left out. */
static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What malloc() gave out: exact, but without what came from the system in large blocks. */
static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static size_t resident(void)
{
	char line[128];
	char *end = line;
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		strtoul(line, &end, 10);
		pages = strtoul(end, NULL, 10);
	}
	if (pages == 0) {
		fprintf(stderr, "what is resident is not known\n");
	}
	if (f != NULL) {
		fclose(f);
	}
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void check(enum status st, const char *what)
{
	if (st != ST_OK) {
		fprintf(stderr, "%s: %s\n", what, status_text(st));
		exit(1);
	}
}

static const uint8_t apex[] = "\5bench\4test";

/* The name with that number under the apex, as hosts are named: the order of numbers is canonical.
 */
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
		uint8_t address[16] = {0};
		be32_put(address, (uint32_t)i);
		host_name(i * 2, name);
		add(c, name, RR_A, address, 4);
		if (i % 2 == 0) {
			add(c, name, RR_AAAA, address, 16);
		}
	}
	check(content_sort(c), "content_sort");
}

static struct version *freeze(struct draft *d, enum denial denial)
{
	struct freeze f = {.denial = denial};
	struct version *v;
	check(draft_freeze(d, &f, &v), "draft_freeze");
	draft_free(d);
	return v;
}

static struct version *build(size_t names, bool signing)
{
	struct content c;
	struct draft *d;
	make_content(&c, names);
	malloc_trim(0);
	size_t before = resident();
	int64_t start = now_ns();
	check(draft_new(apex, NULL, &d), "draft_new");
	check(draft_apply(d, &c, signing), "draft_apply");
	check(draft_settle(d), "draft_settle");
	struct version *v = freeze(d, signing ? DENIAL_NSEC : DENIAL_NONE);
	int64_t took = now_ns() - start;
	malloc_trim(0);
	size_t bytes = resident() - before;
	printf("%-28s %10zu names %10zu records %8.1f ms %8.1f bytes/record\n",
	       signing ? "build, with an NSEC chain" : "build, unsigned", v->name_count,
	       v->record_count, (double)took / 1e6, (double)bytes / (double)v->record_count);

	/* The same content again: nothing changes. */
	start = now_ns();
	check(draft_new(apex, v, &d), "draft_new");
	check(draft_apply(d, &c, signing), "draft_apply");
	if (draft_changed(d)) {
		fprintf(stderr, "the same content changed something\n");
		exit(1);
	}
	draft_free(d);
	printf("%-28s %10zu names %28.1f ms\n", "the same content again", v->name_count,
	       (double)(now_ns() - start) / 1e6);
	content_fini(&c);
	return v;
}

static void put_one(struct draft *d, const uint8_t *name, size_t i)
{
	uint8_t address[4];
	struct rrset *rs;
	struct bytes rdata = {address, sizeof(address)};
	be32_put(address, (uint32_t)i);
	check(rrset_new(RR_A, 3600, &rdata, 1, &rs), "rrset_new");
	check(draft_put(d, name, rs), "draft_put");
}

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* One record a version. Returns the last one. */
static struct version *change(struct version *v, bool add_it, size_t names, enum denial denial)
{
	static int64_t times[CHANGES];
	size_t most = 0;
	uint64_t random = 1;
	for (size_t i = 0; i < CHANGES; i++) {
		uint8_t name[NAME_MAX_LEN];
		struct draft *d;
		random = random * UINT64_C(6364136223846793005) + 1;
		/* Odd numbers are free; i alone makes it another one each time. */
		host_name((size_t)((random >> 33) % names) / CHANGES * CHANGES * 2 + i * 2 + 1,
			  name);
		/* To ask malloc takes long. */
		bool measured = i % 100 == 0;
		size_t before = measured ? in_use() : 0;
		int64_t start = now_ns();
		check(draft_new(apex, v, &d), "draft_new");
		if (add_it) {
			put_one(d, name, i);
		} else {
			check(draft_remove(d, name, RR_A), "draft_remove");
		}
		check(draft_settle(d), "draft_settle");
		struct version *next = freeze(d, denial);
		version_succeed(v, next);
		times[i] = now_ns() - start;
		size_t after = measured ? in_use() : 0;
		most = after > before + most ? after - before : most;
		version_unref(v);
		v = next;
	}
	qsort(times, CHANGES, sizeof(times[0]), compare_times);
	printf("%-28s %10d times %10" PRId64 " ns median %10" PRId64 " ns worst %8zu bytes held\n",
	       add_it ? "add one record" : "remove one record", CHANGES, times[CHANGES / 2],
	       times[CHANGES - 1], most);
	return v;
}

int main(int argc, char **argv)
{
	size_t names = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 10000;
	if (names < 2 || names > 10000000) {
		fprintf(stderr, "usage: bench_add [NAMES]\n");
		return 2;
	}
	struct version *v = build(names, false);
	v = change(v, true, names, DENIAL_NONE);
	v = change(v, false, names, DENIAL_NONE);
	version_unref(v);
	v = build(names, true);
	v = change(v, true, names, DENIAL_NSEC);
	v = change(v, false, names, DENIAL_NSEC);
	version_unref(v);
	return 0;
}
