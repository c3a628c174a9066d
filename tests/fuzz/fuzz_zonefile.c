/* A zone file from anywhere: read, sorted, checked; every record written and read again is the
 * same; read in chunks and sorted in parts it is the same as in one go. */
#include "zones/content.h"
#include "zones/rdata.h"
#include "zones/scan.h"

#include "nsd-core/base/parallel.h"
#include "tests/unit/master_same.h"

#include <stdlib.h>

#define TEXT_ROOM ((size_t)RDATA_MAX * 6)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* ldns 1.8.3 forgets a few octets where it refuses an IPSECKEY or HIP. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libldns";
}

static void require(bool ok, const char *what, const char *text)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, text);
		abort();
	}
}

static void read_again(const struct record *r, char *text, uint8_t *again)
{
	/* Written names are absolute: any origin will do. */
	static const uint8_t origin[] = "\7example\3com";
	struct bytes rdata = record_rdata(r);
	struct scan s;
	size_t len = 0;
	size_t bad;
	const char *why = "";
	require(rdata_check(r->type, rdata, &why) == ST_OK, "refused by rdata_check", why);
	require(rdata_compare(r->type, rdata, rdata) == 0, "differs from itself", "");
	rdata_canonical(r->type, rdata, again);
	require(rdata_compare(r->type, rdata, (struct bytes){again, rdata.len}) == 0,
		"differs from its canonical form", "");
	require(rdata_to_text(r->type, rdata, text, TEXT_ROOM) == ST_OK, "no text", "");
	scan_init(&s, text, strlen(text), 1);
	enum status st = scan_next(&s);
	require(st == ST_OK || st == ST_ENOENT, "text cannot be scanned", text);
	st = rdata_from_tokens(r->type, s.tokens, s.count, origin, again, &len, &bad, &why);
	if (st != ST_OK) {
		fprintf(stderr, "%s\n", why);
	}
	require(st == ST_OK, "text cannot be read", text);
	require(len == rdata.len && memcmp(again, rdata.data, len) == 0, "text says another thing",
		text);
	scan_fini(&s);
}

static void check_sorted(const struct content *c)
{
	for (size_t i = 1; i < c->record_count; i++) {
		const struct record *a = &c->records[i - 1];
		const struct record *b = &c->records[i];
		int diff = name_compare(a->owner, b->owner);
		diff = diff != 0 ? diff : (a->type > b->type) - (a->type < b->type);
		diff = diff != 0 ? diff : rdata_compare(a->type, record_rdata(a), record_rdata(b));
		require(diff < 0, "not in order", "");
	}
}

/* Chunks of a size that the input chooses, so that their bounds fall anywhere. */
static void read_in_chunks(const uint8_t *data, size_t size)
{
	struct reading_of serial;
	struct reading_of chunks;
	size_t chunk_bytes = size == 0 ? 1 : 1 + data[size / 2] % 100;
	read_text(&serial, (const char *)data, size, 0, 1);
	read_text(&chunks, (const char *)data, size, chunk_bytes, 2);
	const char *difference = reading_difference(&serial, &chunks);
	require(difference == NULL, "read in chunks differs", difference);
	if (content_sort_parts(&serial.c, 1) == ST_OK &&
	    content_sort_parts(&chunks.c, 1 + (unsigned)(size % PARALLEL_MAX)) == ST_OK) {
		difference = reading_difference(&serial, &chunks);
		require(difference == NULL, "sorted in parts differs", difference);
	}
	reading_fini(&serial);
	reading_fini(&chunks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t apex[] = "\7example\3com";
	static char text[TEXT_ROOM];
	static uint8_t again[RDATA_MAX];
	struct master_options opt = {.include_depth = UINT_MAX, .generate_max = 20};
	struct content c;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	content_init(&c, apex);
	enum status st = master_read_mem("fuzz", (const char *)data, size, &opt, &c, &d);
	require((st == ST_OK) == (d.errors == 0), "status and findings disagree", "");
	if (content_sort(&c) == ST_OK) {
		check_sorted(&c);
		/* Half of the inputs as zones that a policy signs. */
		struct check_options check = {.signing = size % 2 != 0};
		if (content_check(&c, &check, &d) != ST_OK) {
			require(d.errors > 0, "refused without a reason", "");
		}
		for (size_t i = 0; i < c.record_count; i++) {
			read_again(&c.records[i], text, again);
		}
	}
	content_fini(&c);
	diags_fini(&d);
	read_in_chunks(data, size);
	return 0;
}
