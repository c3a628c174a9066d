/* The state of one reading of a configuration, and the reading of single values. */
#pragma once

#include "nsd-core/conf_schema.h"
#include "nsd-core/conf_tree.h"

struct conf_reader {
	struct conf *conf;  /* being built */
	struct arena arena; /* the tree's */
	struct diags found;
	struct conf_faults faults; /* to 'found' */
	const char *directory;	   /* of the file: what relative paths are relative to */
	bool check_files;
	enum status err; /* sticky: ST_OK or ST_ENOMEM */
};

/* Reads 'node' as 'opt' says and stores it in the section's struct; a value that is not what it
 * should be is a fault, and nothing is stored. */
void conf_value_read(struct conf_reader *rd, const struct option *opt, const struct conf_node *node,
		     void *section);
/* The same with the option's initial value. */
void conf_value_initial(struct conf_reader *rd, const struct option *opt, void *section);

/* "'address': expected an address, found a map". */
void conf_value_expected(struct conf_reader *rd, const struct option *opt,
			 const struct conf_node *node, const char *what);

/* conf_remotes.c: as conf_value_read(). */
void conf_read_peers(struct conf_reader *rd, const struct option *opt, const struct conf_node *node,
		     void *section);
void conf_read_remotes(struct conf_reader *rd, const struct option *opt,
		       const struct conf_node *node, void *section);
void conf_read_tsig_key(struct conf_reader *rd, const struct option *opt,
			const struct conf_node *node, int64_t *out);

/* Heap; NULL sets rd->err. */
char *conf_strdup(struct conf_reader *rd, const char *text);
char *conf_path_join(struct conf_reader *rd, const char *directory, const char *path);

/* "90s", "5m", "1h", "14d", "1y" to seconds; "64K", "16M", "1G" or plain octets. ST_EPARSE. */
enum status conf_duration_parse(const char *text, uint64_t *out) MUST_USE;
enum status conf_size_parse(const char *text, uint64_t *out) MUST_USE;
