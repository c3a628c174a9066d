/* A build under way, and what becomes of its serial. Private to zonemgr_build.c and its parts. */
#pragma once

#include "nsd-core/zonemgr_build.h"

struct making {
	struct build *b;
	struct build_source *src;
	struct content content;
	bool has_content;
	struct draft *draft;
	struct keyset *keys; /* a reference; NULL: the zone is served as it is */
	struct zone_record record;
	enum sign_denial denial;
	uint32_t file_serial;
	bool has_file_serial;
	/* The file's serial went back: from which one. */
	uint32_t file_serial_was;
	bool is_back;
	uint32_t serial; /* of the new version */
	bool whole;	 /* all signatures were on disk */
	bool is_unseen;	 /* the record's serial: the journal has it, and nobody has seen it */
	int64_t start_ms;
	/* What must be signed before publication. */
	const struct node **nodes;
	struct rrset **rrsets;
	size_t count, room;
	struct version *version;
};

/* zonemgr_serial.c. Are serials ours to give? */
static inline bool making_is_numbered(const struct making *m)
{
	return m->src->serial != SERIAL_KEEP;
}

/* The file's serial, and whether it went back since it was read last. A zone without a file has
 * none, and begins with 1. */
enum status making_read_serial(struct making *m) MUST_USE;
/* The serial that the content's SOA is to have in the draft: the one that is served, so that a file
 * that says nothing new changes nothing; of a first version what was served last, or the first of
 * all. */
void making_first_serial(struct making *m);
/* ST_EREFUSED: the SOA is signed in the file, so that it cannot have another serial. */
enum status making_check_soa(struct making *m) MUST_USE;
/* What the state directory has of a zone that is not served yet: its signatures, and its serial
 * where nothing has changed since. */
enum status making_restore(struct making *m) MUST_USE;
/* Is there a new version, and which serial has it? ST_EREFUSED: not the one that was asked for. */
enum status making_settle_serial(struct making *m, bool *is_new) MUST_USE;
/* Says so where the file's serial went back, and keeps it for the next time. */
void making_note_file_serial(struct making *m, bool is_new);
