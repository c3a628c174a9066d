/* The master-file reader's inside: shared by its parts only. */
#pragma once

#include "zones/content.h"
#include "zones/scan.h"

#include <sys/types.h>

/* A file being read, or a memory region. */
struct source {
	const struct source *parent; /* the file that includes it */
	/* The text is the file's own, and need not be kept once it is read; NULL: it must. */
	struct file_text *whole;
	const char *name;
	uint16_t file;
	bool has_id; /* device and inode are known */
	dev_t device;
	ino_t inode;
	unsigned depth;
	/* Entries come from text made by $GENERATE: findings get that directive's place. */
	bool generated;
	struct place place;
	/* The last owner's text, to save the work where the next record says the same. Borrowed
	 * from the source's text; length 0: none. */
	const char *owner_text;
	size_t owner_len;
};

/* What a record's meaning depends on beside its own text. */
struct reader_state {
	uint8_t origin[NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN]; /* lower case */
	bool has_owner;
	bool has_default_ttl; /* $TTL, or the SOA's MINIMUM in its stead */
	bool has_last_ttl;
	bool ttl_warned;
	uint32_t default_ttl;
	uint32_t last_ttl;
};

struct reader {
	struct content *c;
	struct diags *d;
	const struct master_options *opt;
	unsigned include_depth;
	size_t generate_max;
	bool failed;
	/* Of one that reads ahead (master_chunks.c): it leaves to the others what concerns more
	 * than its own chunk. */
	bool ahead;
	bool stuck;	/* met such a thing */
	bool asked_ttl; /* went by the state's TTLs other than the default one */
	bool wrote_ttl; /* has a last TTL of its own */

	struct reader_state at;
	/* at.owner, in the content's arena or with what is known; its name NULL: not there yet. */
	struct record_owner owner;
	/* Where what is known would have at.owner: on its way into the cache while the rest of the
	 * record is read. Nothing is found where they are another name's. */
	uint64_t known_hash;
	uintptr_t known_page;
	uint8_t rdata[RDATA_MAX];
};

/* Adds an error and marks the reading as failed. at: a token's place; line 0: the source itself. */
void reader_fault(struct reader *r, const struct source *src, uint32_t line, uint32_t column,
		  const char *fmt, ...) PRINTF(5, 6);
/* "WHY, found 'TOKEN'"; index s->count: "WHY, found the end of the record". */
void reader_expected(struct reader *r, const struct source *src, const struct scan *s, size_t index,
		     const char *why);
/* Reads entries up to the first that starts at 'stop' or behind, where s->entry then is. */
enum status reader_entries(struct reader *r, struct source *src, struct scan *s,
			   const char *stop) MUST_USE;
/* What a directive does to the state; false where its text is at fault. */
bool reader_origin(const struct scan *s, struct reader_state *at, const char **why);
bool reader_ttl(const struct scan *s, struct reader_state *at);
/* Reads the record that s holds. Faults are reported and are not an error; ST_ENOMEM, ST_ELIMIT. */
enum status reader_record(struct reader *r, struct source *src, const struct scan *s) MUST_USE;

/* generate.c: $GENERATE RANGE OWNER [TTL] [CLASS] TYPE RDATA, which s holds. */
enum status reader_generate(struct reader *r, struct source *src, const struct scan *s) MUST_USE;
/* The text with "$" and "${offset[,width[,base]]}" replaced by value; *len octets in 'out'.
 * ST_ESPACE; ST_EPARSE with *why. */
enum status generate_expand(const char *text, size_t text_len, int64_t value, char *out,
			    size_t room, size_t *len, const char **why) MUST_USE;

/* master_chunks.c: reads all entries of the text. Of a long one several chunks at once, with the
 * same outcome as if it were read from the front to the end. */
enum status reader_text(struct reader *r, struct source *src, const char *text,
			size_t len) MUST_USE;

/* master_file.c: a whole file in memory, file_text_free(). ST_ENOENT, ST_EACCES, ST_EIO, ST_ELIMIT,
 * ST_ENOMEM with a phrase in *why. */
struct file_text {
	char *text;
	size_t len;
	size_t room;
	dev_t device;
	ino_t inode;
};

enum status file_text_read(const char *path, struct file_text *out, const char **why) MUST_USE;
void file_text_free(struct file_text *f);
