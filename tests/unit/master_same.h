/* Is a text read in chunks by several threads just as from the front to the end? */
#pragma once

#include "zones/content.h"

#include <limits.h>
#include <stdio.h>

struct reading_of {
	struct content c;
	struct diags d;
	enum status st;
};

static inline void read_text(struct reading_of *r, const char *text, size_t len, size_t chunk_bytes,
			     unsigned threads)
{
	static const uint8_t apex[] = "\7example\3com";
	struct master_options opt = {
		.include_depth = UINT_MAX,
		.generate_max = 20,
		.chunk_bytes = chunk_bytes,
		.threads = threads,
	};
	content_init(&r->c, apex);
	diags_init(&r->d, DIAGS_LIMIT);
	r->st = master_read_mem("z", text, len, &opt, &r->c, &r->d);
}

static inline void reading_fini(struct reading_of *r)
{
	content_fini(&r->c);
	diags_fini(&r->d);
}

static inline bool same_record(const struct record *a, const struct record *b)
{
	return name_len(a->owner) == name_len(b->owner) &&
	       memcmp(a->owner, b->owner, name_len(a->owner)) == 0 && a->type == b->type &&
	       a->ttl == b->ttl && a->order == b->order &&
	       record_rdata(a).len == record_rdata(b).len &&
	       memcmp(a->rdata, b->rdata, record_rdata(a).len) == 0 && a->file == b->file &&
	       a->line == b->line && a->column == b->column;
}

static inline bool same_diag(const struct diag *a, const struct diag *b)
{
	return a->level == b->level && a->line == b->line && a->column == b->column &&
	       (a->file == NULL) == (b->file == NULL) &&
	       (a->file == NULL || strcmp(a->file, b->file) == 0) && strcmp(a->text, b->text) == 0;
}

/* NULL: they are the same; else what differs first. */
static inline const char *reading_difference(const struct reading_of *a, const struct reading_of *b)
{
	static char text[80];
	if (a->st != b->st) {
		return "the status";
	}
	for (size_t i = 0; i < a->d.count && i < b->d.count; i++) {
		if (!same_diag(&a->d.items[i], &b->d.items[i])) {
			snprintf(text, sizeof(text), "finding %zu", i);
			return text;
		}
	}
	if (a->d.count != b->d.count || a->d.errors != b->d.errors ||
	    a->d.warnings != b->d.warnings) {
		return "how many findings";
	}
	for (size_t i = 0; i < a->c.record_count && i < b->c.record_count; i++) {
		if (!same_record(&a->c.records[i], &b->c.records[i])) {
			snprintf(text, sizeof(text), "record %zu", i);
			return text;
		}
	}
	if (a->c.record_count != b->c.record_count) {
		return "how many records";
	}
	for (size_t i = 0; i < a->c.file_count && i < b->c.file_count; i++) {
		if (strcmp(a->c.files[i], b->c.files[i]) != 0) {
			return "a file";
		}
	}
	return a->c.file_count == b->c.file_count ? NULL : "how many files";
}
