/* From the file to a draft's content. */
#include "nsd-core/zonemgr_build.h"

#include "zones/rdata.h"

#include <stdlib.h>

enum status build_look(struct build *b, bool *read)
{
	struct file_stamps now = {.items = NULL};

	if ((b->want & BUILD_READ) != 0 || b->read.count == 0) {
		*read = (b->want & (BUILD_READ | BUILD_CHANGED | BUILD_SETTLED)) != 0;
		return ST_OK;
	}
	if ((b->want & (BUILD_CHANGED | BUILD_SETTLED)) == 0) {
		*read = false;
		return ST_OK;
	}
	enum status st = file_stamps_again(&b->read, &now);
	if (st != ST_OK) {
		return st;
	}
	bool changed = !file_stamps_equal(&b->read, &now);
	if (changed && (b->want & BUILD_CHANGED) == 0) {
		/* Of a file that is absent for a moment nothing is known. */
		changed = file_stamps_present(&now);
		if (changed && !file_stamps_equal(&b->seen, &now)) {
			file_stamps_fini(&b->seen);
			b->seen = now;
			return ST_EBUSY;
		}
	}
	file_stamps_fini(&now);
	*read = changed;
	return ST_OK;
}

/* The zone's own file, then what it includes. */
static enum status take_stamps(struct build *b, const struct content *c, int64_t since_ns)
{
	struct file_stamps now;
	size_t count = 0;
	const char **paths = calloc(c->file_count + 1, sizeof(*paths));

	if (paths == NULL) {
		return ST_ENOMEM;
	}
	paths[count++] = b->src->path;
	for (size_t i = 0; i < c->file_count; i++) {
		if (strcmp(c->files[i], b->src->path) != 0) {
			paths[count++] = c->files[i];
		}
	}
	enum status st = file_stamps_take(paths, count, since_ns, &now);
	if (st == ST_OK) {
		file_stamps_fini(&b->read);
		file_stamps_fini(&b->seen);
		b->read = now;
	}
	free(paths);
	return st;
}

enum status build_read_file(struct build *b, struct content *c)
{
	const struct check_options check = {.signing = b->src->policy != NULL};
	const struct master_options read = {.known = b->base};
	int64_t since_ns = file_stamps_now_ns();

	enum status st = master_read(b->src->path, &read, c, &b->diags);
	enum status stamps = take_stamps(b, c, since_ns);
	if (st == ST_OK) {
		st = stamps;
	}
	if (st == ST_OK) {
		st = content_sort(c);
	}
	if (st == ST_OK) {
		st = content_check(c, &check, &b->diags);
	}
	return st;
}

/* The serial is the first of the five integers that end an SOA (RFC 1035 3.3.13). */
#define SOA_SERIAL_BEFORE_END 20

enum status content_serial(struct content *c, const uint32_t *put, uint32_t *serial)
{
	for (size_t i = 0; i < c->set_count; i++) {
		struct record *r = &c->records[c->sets[i].first];
		if (r->type != RR_SOA || !name_equal(r->owner, c->apex)) {
			continue;
		}
		struct soa soa;
		enum status st = soa_parse(record_rdata(r), &soa);
		if (st != ST_OK) {
			return st;
		}
		if (put != NULL) {
			size_t len = 2 + record_rdata(r).len;
			uint8_t *rdata = arena_copy(&c->arena, r->rdata - 2, len);
			if (rdata == NULL) {
				return ST_ENOMEM;
			}
			be32_put(rdata + len - SOA_SERIAL_BEFORE_END, *put);
			r->rdata = rdata + 2;
		}
		*serial = soa.serial;
		return ST_OK;
	}
	return ST_EPARSE;
}

/* Has the name records of the zone's own, not only such as signing adds? */
static bool has_data(const struct node *n)
{
	for (size_t i = 0; n != NULL && i < n->rrset_count; i++) {
		if ((n->rrsets[i]->flags & RRSET_GENERATED) == 0) {
			return true;
		}
	}
	return false;
}

enum status build_check_loss(struct build *b, struct draft *d)
{
	const uint8_t *const *names;
	size_t count;
	size_t base_names;
	size_t now_names;
	size_t lost = 0;

	if (b->base == NULL || (b->want & BUILD_FORCE) != 0) {
		return ST_OK;
	}
	enum status st = draft_touched(d, &names, &count);
	if (st != ST_OK) {
		return st;
	}
	for (size_t i = 0; i < count; i++) {
		struct name_ref ref;
		name_ref_init(&ref, names[i]);
		lost += has_data(version_find(b->base, &ref, ref.labels)) &&
			!has_data(draft_find(d, names[i]));
	}
	draft_counts(d, &base_names, &now_names);
	if (lost * 2 <= base_names) {
		return ST_OK;
	}
	diags_add(&b->diags, DIAG_ERROR, b->src->path, 0, 0,
		  "%zu of the %zu names served would be lost: the old version stays; if this is "
		  "meant, reload with --force",
		  lost, base_names);
	return ST_EREFUSED;
}
