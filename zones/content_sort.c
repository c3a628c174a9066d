/* Sorting what was read. Runs of records of one owner are sorted, not records: by 11 octets of the
 * owner's sort key, and by name where these are equal. Each thread sorts the runs of a part of the
 * file; then each gathers a range of the names from all parts. */
#include "zones/content.h"
#include "zones/rdata.h"

#include "nsd-core/base/bulk.h"
#include "nsd-core/base/parallel.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Below, a thread costs more than it saves. */
#define RECORDS_PER_PART 16384
/* Runs looked at in each part to divide the names into ranges of about the same size. */
#define SAMPLES 32
/* Runs are sorted by insertion up to here. */
#define FEW 12
/* Records lie where the file had them: asked for so many runs ahead. */
#define AHEAD 8

/* There are as many as names: each octet counts. An owner with more records has several. */
struct run {
	uint64_t prefix; /* of the sort key behind the apex's; zero where names are outside */
	uint32_t tail;	 /* three octets more of it, then how many records: 1 .. RUN_MAX */
	uint32_t first;
};

#define RUN_MAX	     UINT8_MAX
#define RUN_KEY_LEN  12
#define RUN_KEY_MASK (~(uint32_t)RUN_MAX)

static uint32_t run_count(const struct run *run)
{
	return run->tail & RUN_MAX;
}

/* A part of the file, and then a range of the names. */
struct part {
	size_t record; /* its records: to the next part's */
	struct run *runs;
	struct run *spare;
	size_t run_count;
	bool in_order;
	bool outside; /* some owner is not in the zone */
	/* The range's records and sets, from 'base' on. */
	size_t base;
	size_t kept;
	size_t set_count;
};

struct sorting {
	struct content *c;
	uint8_t apex_key[NAME_KEY_MAX];
	size_t apex_key_len;
	size_t apex_len;
	unsigned count;
	struct part parts[PARALLEL_MAX + 1];
	/* starts[range][part]: the range's first run in the part. */
	size_t starts[PARALLEL_MAX + 1][PARALLEL_MAX];
	struct run *runs;	/* those of all parts: as many as there are records, at most */
	struct record *records; /* where they are gathered: the content's own if in order already */
	struct record_set *sets;
	size_t room; /* of all three: as many as there are records */
	/* Octets of each page of the content's records that are still to be gathered; NULL: they
	 * are gathered in place. */
	_Atomic(uint32_t) *left;
};

static int run_compare(const struct content *c, const struct run *a, const struct run *b)
{
	uint32_t tail_a = a->tail & RUN_KEY_MASK;
	uint32_t tail_b = b->tail & RUN_KEY_MASK;
	if (a->prefix != b->prefix) {
		return a->prefix < b->prefix ? -1 : 1;
	}
	if (tail_a != tail_b) {
		return tail_a < tail_b ? -1 : 1;
	}
	return name_compare(c->records[a->first].owner, c->records[b->first].owner);
}

/* In order; runs of the same owner as they stand in the file. */
static bool run_before(const struct content *c, const struct run *a, const struct run *b)
{
	int order = run_compare(c, a, b);
	return order < 0 || (order == 0 && a->first < b->first);
}

static void sort_few(const struct content *c, struct run *runs, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct run run = runs[i];
		size_t at = i;
		for (; at > 0 && run_before(c, &run, &runs[at - 1]); at--) {
			runs[at] = runs[at - 1];
		}
		runs[at] = run;
	}
}

/* Merge sort, which does next to nothing where the halves are in order. spare: half as many. */
static void sort_runs(const struct content *c, struct run *runs, size_t count, struct run *spare)
{
	size_t half = count / 2;
	size_t left = 0;
	size_t right = half;
	if (count <= FEW) {
		sort_few(c, runs, count);
		return;
	}
	sort_runs(c, runs, half, spare);
	sort_runs(c, runs + half, count - half, spare);
	if (run_before(c, &runs[half - 1], &runs[half])) {
		return;
	}
	memcpy(spare, runs, half * sizeof(*runs));
	for (size_t i = 0; left < half; i++) {
		bool take_right = right < count && run_before(c, &runs[right], &spare[left]);
		runs[i] = take_right ? runs[right++] : spare[left++];
	}
}

/* Key: RUN_KEY_LEN octets. */
static void run_set_key(struct run *run, const uint8_t *key)
{
	run->prefix = be64_get(key);
	run->tail = (be32_get(key + sizeof(run->prefix)) & RUN_KEY_MASK) | run_count(run);
}

/* Of a name just below the apex the key is its first label, where that needs no escape: true. */
static bool run_set_label(const struct sorting *s, const uint8_t *owner, struct run *run)
{
	uint8_t key[RUN_KEY_LEN] = {0};
	size_t label = owner[0];
	if (name_len(owner) != label + 1 + s->apex_len ||
	    memcmp(owner + 1 + label, s->c->apex, s->apex_len) != 0) {
		return false;
	}
	for (size_t i = 0; i < label; i++) {
		if (owner[1 + i] <= 1) {
			return false;
		}
	}
	memcpy(key, owner + 1, label < sizeof(key) ? label : sizeof(key));
	run_set_key(run, key);
	return true;
}

static void run_init(const struct sorting *s, struct part *p, struct run *run, size_t first)
{
	uint8_t key[NAME_KEY_MAX + RUN_KEY_LEN];
	const uint8_t *owner = s->c->records[first].owner;
	size_t skip = s->apex_key_len;
	*run = (struct run){.first = (uint32_t)first, .tail = 1};
	if (run_set_label(s, owner, run)) {
		return;
	}
	size_t len = name_sort_key(owner, key);
	if (len < skip || memcmp(key, s->apex_key, skip) != 0) {
		p->outside = true;
		return;
	}
	memset(key + len, 0, RUN_KEY_LEN);
	run_set_key(run, key + skip);
}

static void make_runs(struct sorting *s, struct part *p)
{
	const struct record *records = s->c->records;
	struct run *last = NULL;
	p->in_order = true;
	for (size_t i = p->record; i < p[1].record; i++) {
		if (last != NULL && records[i].owner == records[i - 1].owner &&
		    run_count(last) < RUN_MAX) {
			last->tail++;
			continue;
		}
		struct run *run = &p->runs[p->run_count++];
		run_init(s, p, run, i);
		p->in_order = p->in_order && (last == NULL || run_before(s->c, last, run));
		last = run;
	}
}

static void sort_part(void *ctx, unsigned i)
{
	struct sorting *s = ctx;
	struct part *p = &s->parts[i];
	make_runs(s, p);
	if (!p->in_order && !p->outside) {
		sort_runs(s->c, p->runs, p->run_count, p->spare);
	}
}

/* Beside names outside of the zone the prefixes have no order, and said nothing of the file's. */
static void sort_part_outside(void *ctx, unsigned i)
{
	struct sorting *s = ctx;
	struct part *p = &s->parts[i];
	for (size_t k = 0; k < p->run_count; k++) {
		p->runs[k].prefix = 0;
		p->runs[k].tail &= RUN_MAX;
	}
	p->in_order = false;
	sort_runs(s->c, p->runs, p->run_count, p->spare);
}

static int record_compare(const void *x, const void *y)
{
	const struct record *a = x;
	const struct record *b = y;
	if (a->type != b->type) {
		return a->type < b->type ? -1 : 1;
	}
	int diff = rdata_compare(a->type, record_rdata(a), record_rdata(b));
	if (diff != 0) {
		return diff;
	}
	return a->order < b->order ? -1 : a->order > b->order;
}

static bool same_data(const struct record *a, const struct record *b)
{
	return a->type == b->type && rdata_compare(a->type, record_rdata(a), record_rdata(b)) == 0;
}

/* Sorts the records of one owner, which are in the file's order; few, and often sorted. */
static void sort_owner(struct record *r, size_t count)
{
	size_t i = 1;
	for (size_t k = 0; k < count; k++) {
		r[k].order = (uint16_t)(k < UINT16_MAX ? k : UINT16_MAX);
	}
	while (i < count && record_compare(&r[i - 1], &r[i]) < 0) {
		i++;
	}
	if (i < count) {
		qsort(r, count, sizeof(*r), record_compare);
	}
}

/* The owner's records were gathered behind those that the range keeps. */
static void finish_owner(struct sorting *s, struct part *range, size_t count)
{
	struct record *r = s->records + range->base + range->kept;
	struct record_set *sets = s->sets + range->base;
	size_t kept = 0;
	sort_owner(r, count);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && same_data(&r[kept - 1], &r[i])) {
			continue;
		}
		if (kept == 0 || r[kept - 1].type != r[i].type) {
			sets[range->set_count++] = (struct record_set){
				.first = (uint32_t)(range->base + range->kept + kept)};
		}
		sets[range->set_count - 1].count++;
		r[kept] = r[i];
		r[kept].owner = r[0].owner;
		kept++;
	}
	range->kept += kept;
}

/* The part whose next run comes first; s->count: none has any. */
static unsigned next_part(const struct sorting *s, const size_t *at, const size_t *end)
{
	unsigned best = s->count;
	for (unsigned p = 0; p < s->count; p++) {
		if (at[p] < end[p] &&
		    (best == s->count ||
		     run_before(s->c, &s->parts[p].runs[at[p]], &s->parts[best].runs[at[best]]))) {
			best = p;
		}
	}
	return best;
}

/* The run was gathered, and is not looked at any more. Where a page's records all were, it goes
 * back: most files are nearly in order, and need not stand in memory twice. */
static void let_go(const struct sorting *s, const struct run *run)
{
	size_t at = run->first * sizeof(struct record);
	size_t end = at + run_count(run) * sizeof(struct record);
	while (s->left != NULL && at < end) {
		size_t page = at / BULK_PAGE;
		size_t next = (page + 1) * BULK_PAGE < end ? (page + 1) * BULK_PAGE : end;
		uint32_t size = (uint32_t)(next - at);
		if (atomic_fetch_sub(&s->left[page], size) == size) {
			bulk_discard(s->c->records, s->c->record_room * sizeof(struct record),
				     page * BULK_PAGE, (page + 1) * BULK_PAGE);
		}
		at = next;
	}
}

/* The range's runs of a part, from the first up to 'run', are not looked at any more. */
static void let_runs_go(const struct sorting *s, size_t first, size_t run)
{
	size_t at = run * sizeof(struct run);
	/* Once for each page. */
	if (at % BULK_PAGE < sizeof(struct run)) {
		bulk_discard(s->runs, s->room * sizeof(struct run), first * sizeof(struct run), at);
	}
}

static void gather_range(void *ctx, unsigned i)
{
	struct sorting *s = ctx;
	struct part *range = &s->parts[i];
	struct run last = {.tail = 0};
	const size_t *end = s->starts[i + 1];
	size_t at[PARALLEL_MAX];
	size_t pending = 0; /* records of the present owner */
	unsigned p;
	memcpy(at, s->starts[i], sizeof(at));
	while ((p = next_part(s, at, end)) < s->count) {
		const struct part *part = &s->parts[p];
		const struct run *run = &part->runs[at[p]++];
		if (at[p] + AHEAD < end[p]) {
			__builtin_prefetch(&s->c->records[run[AHEAD].first]);
		}
		if (run_count(&last) > 0 && run_compare(s->c, &last, run) != 0) {
			finish_owner(s, range, pending);
			pending = 0;
		}
		if (run_count(&last) > 0) {
			let_go(s, &last);
		}
		struct record *to = s->records + range->base + range->kept + pending;
		memmove(to, s->c->records + run->first, run_count(run) * sizeof(*to));
		pending += run_count(run);
		last = *run;
		let_runs_go(s, part->record + s->starts[i][p], part->record + at[p]);
	}
	if (pending > 0) {
		finish_owner(s, range, pending);
	}
}

/* The first run of the part that is not before the split. */
static size_t part_lower_bound(const struct sorting *s, const struct part *p,
			       const struct run *split)
{
	size_t low = 0;
	size_t high = p->run_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (run_compare(s->c, &p->runs[middle], split) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

/* Divides the names into as many ranges as there are parts, and says where each one's records go.
 */
static void divide(struct sorting *s)
{
	struct run samples[PARALLEL_MAX * SAMPLES];
	struct run spare[PARALLEL_MAX * SAMPLES / 2];
	size_t n = 0;
	for (unsigned p = 0; p < s->count; p++) {
		size_t run_count = s->parts[p].run_count;
		for (size_t i = 0; i < SAMPLES && run_count > 0; i++) {
			samples[n++] = s->parts[p].runs[run_count * i / SAMPLES];
		}
	}
	sort_runs(s->c, samples, n, spare);
	for (unsigned p = 0; p < s->count; p++) {
		s->starts[s->count][p] = s->parts[p].run_count;
		for (unsigned i = 1; i < s->count; i++) {
			s->starts[i][p] =
				part_lower_bound(s, &s->parts[p], &samples[n * i / s->count]);
		}
	}
	size_t base = 0;
	for (unsigned i = 0; i < s->count; i++) {
		s->parts[i].base = base;
		for (unsigned p = 0; p < s->count; p++) {
			for (size_t k = s->starts[i][p]; k < s->starts[i + 1][p]; k++) {
				base += run_count(&s->parts[p].runs[k]);
			}
		}
	}
}

/* Closes the gaps that duplicates left behind the ranges, and those between the ranges' sets. */
static void join_ranges(struct sorting *s)
{
	struct content *c = s->c;
	size_t records = 0;
	size_t sets = 0;
	for (unsigned i = 0; i < s->count; i++) {
		const struct part *range = &s->parts[i];
		uint32_t shift = (uint32_t)(range->base - records);
		memmove(s->sets + sets, s->sets + range->base, range->set_count * sizeof(*s->sets));
		if (shift > 0) {
			memmove(s->records + records, s->records + range->base,
				range->kept * sizeof(*s->records));
		}
		for (size_t k = sets; k < sets + range->set_count && shift > 0; k++) {
			s->sets[k].first -= shift;
		}
		records += range->kept;
		sets += range->set_count;
	}
	c->record_count = records;
	c->set_count = sets;
}

static bool parts_in_order(const struct sorting *s)
{
	const struct run *last = NULL;
	for (unsigned i = 0; i < s->count; i++) {
		const struct part *p = &s->parts[i];
		if (p->run_count == 0) {
			continue;
		}
		if (!p->in_order || (last != NULL && !run_before(s->c, last, p->runs))) {
			return false;
		}
		last = p->runs + p->run_count - 1;
	}
	return true;
}

static void sort_parts(struct sorting *s)
{
	bool outside = false;
	parallel_run(s->count, sort_part, s);
	for (unsigned i = 0; i < s->count; i++) {
		outside = outside || s->parts[i].outside;
	}
	if (outside) {
		parallel_run(s->count, sort_part_outside, s);
	}
}

/* Room for what is gathered, and for counting down what is not yet. */
static enum status gather_room(struct sorting *s)
{
	size_t bytes = s->room * sizeof(*s->records);
	size_t pages = bytes / BULK_PAGE + 1;
	s->sets = bulk_alloc(s->room * sizeof(*s->sets));
	if (parts_in_order(s)) {
		/* In place: what a thread writes is a part of the file that only it reads. */
		s->records = s->c->records;
		return s->sets == NULL ? ST_ENOMEM : ST_OK;
	}
	s->records = bulk_alloc(bytes);
	s->left = malloc(pages * sizeof(*s->left));
	if (s->sets == NULL || s->records == NULL || s->left == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < pages; i++) {
		size_t rest = bytes - i * BULK_PAGE;
		atomic_init(&s->left[i], (uint32_t)(rest < BULK_PAGE ? rest : BULK_PAGE));
	}
	return ST_OK;
}

/* The content gets what was gathered in the place of what it had. */
static void adopt(struct sorting *s)
{
	struct content *c = s->c;
	if (s->records != c->records) {
		bulk_free(c->records, c->record_room * sizeof(*c->records));
		c->records = s->records;
		c->record_room = s->room;
	}
	bulk_free(c->sets, c->set_room * sizeof(*c->sets));
	c->sets = s->sets;
	c->set_room = s->room;
}

static enum status gather(struct sorting *s)
{
	enum status st = gather_room(s);
	if (st == ST_OK) {
		divide(s);
		parallel_run(s->count, gather_range, s);
		join_ranges(s);
		adopt(s);
	} else {
		bulk_free(s->sets, s->room * sizeof(*s->sets));
		if (s->records != s->c->records) {
			bulk_free(s->records, s->room * sizeof(*s->records));
		}
	}
	free(s->left);
	return st;
}

static enum status sort_all(struct sorting *s)
{
	size_t count = s->c->record_count;
	struct run *spare = bulk_alloc(count * sizeof(*spare));
	enum status st = ST_ENOMEM;
	s->runs = bulk_alloc(count * sizeof(*s->runs));
	if (s->runs != NULL && spare != NULL) {
		for (unsigned i = 0; i <= s->count; i++) {
			s->parts[i].record = count * i / s->count;
			s->parts[i].runs = s->runs + s->parts[i].record;
			s->parts[i].spare = spare + s->parts[i].record;
		}
		sort_parts(s);
		bulk_free(spare, count * sizeof(*spare));
		spare = NULL;
		st = gather(s);
	}
	bulk_free(s->runs, count * sizeof(*s->runs));
	bulk_free(spare, count * sizeof(*spare));
	return st;
}

enum status content_sort_parts(struct content *c, unsigned parts)
{
	if (c->record_count == 0) {
		c->set_count = 0;
		return ST_OK;
	}
	struct sorting *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	s->c = c;
	s->count = parts;
	s->room = c->record_count;
	s->apex_key_len = name_sort_key(c->apex, s->apex_key);
	s->apex_len = name_len(c->apex);
	enum status st = sort_all(s);
	free(s);
	return st;
}

enum status content_sort(struct content *c)
{
	size_t parts = c->record_count / RECORDS_PER_PART + 1;
	unsigned cpus = parts > 1 ? parallel_cpus() : 1;
	return content_sort_parts(c, parts < cpus ? (unsigned)parts : cpus);
}
