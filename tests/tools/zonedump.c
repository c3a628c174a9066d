/* Reads a zone file and prints its records, one on a line, sorted canonically, every field in full:
 * "owner TTL IN type RDATA". For comparing our reading with that of other servers. */
#include "zones/content.h"
#include "zones/rdata.h"

#include <stdio.h>
#include <stdlib.h>

static void print_findings(const struct diags *d)
{
	char buf[1024];
	for (size_t i = 0; i < d->count; i++) {
		fprintf(stderr, "%s\n", diag_format(&d->items[i], buf, sizeof(buf)));
	}
}

static int print_records(const struct content *c)
{
	/* Every octet of the largest RDATA as \DDD, and quotes. */
	size_t room = (size_t)RDATA_MAX * 6;
	char *text = malloc(room);
	if (text == NULL) {
		return 1;
	}
	for (size_t i = 0; i < c->record_count; i++) {
		const struct record *r = &c->records[i];
		char owner[NAME_TEXT_MAX];
		char type[RRTYPE_TEXT_MAX];
		if (rdata_to_text(r->type, record_rdata(r), text, room) != ST_OK) {
			free(text);
			return 1;
		}
		printf("%s %u IN %s %s\n", name_to_text(r->owner, owner), r->ttl,
		       rrtype_to_text(r->type, type), text);
	}
	free(text);
	return 0;
}

int main(int argc, char **argv)
{
	uint8_t apex[NAME_MAX_LEN];
	size_t len;
	struct content c;
	struct diags d;
	if (argc < 3 || argc > 4 ||
	    name_from_text(argv[1], strlen(argv[1]), NULL, apex, &len, NULL) != ST_OK) {
		fprintf(stderr, "usage: zonedump ZONE FILE [signing|quiet]\n");
		return 2;
	}
	struct master_options opt = {0};
	struct check_options check = {.signing = argc == 4 && strcmp(argv[3], "signing") == 0};
	bool quiet = argc == 4 && strcmp(argv[3], "quiet") == 0;
	diags_init(&d, DIAGS_LIMIT);
	content_init(&c, apex);
	int result = 1;
	enum status st = master_read(argv[2], &opt, &c, &d);
	if (st == ST_OK) {
		st = content_sort(&c);
	}
	if (st == ST_OK) {
		st = content_check(&c, &check, &d);
	}
	print_findings(&d);
	if (st == ST_OK) {
		result = quiet ? 0 : print_records(&c);
	}
	content_fini(&c);
	diags_fini(&d);
	return result;
}
