/* What must survive: LMDB environments of named tables, key and value as octets.
 *
 * A store_open() handle may be used by many threads; a transaction by the thread that began it.
 * One write transaction at a time; commit is durable (fsync) unless opened lazy. A process opens an
 * environment once (LMDB's locks are the process's). */
#pragma once

#include "nsd-core/base/wire.h"

struct store;
struct store_txn;

struct store_options {
	size_t map_bytes; /* upper bound of the file's size; address space only */
	bool lazy;	  /* do not wait for the disk at commit: a crash of the machine may lose the
			     latest commits */
	bool read_only;	  /* another process may be the writer */
};

/* Opens (and makes, mode 0600, unless read_only) the environment DIR/NAME.lmdb. ST_ENOENT:
 * read_only and absent; ST_EACCES; ST_EIO. */
enum status store_open(const char *dir, const char *name, const struct store_options *opt,
		       struct store **out, struct diags *d) MUST_USE;
void store_close(struct store *s);

enum status store_begin(struct store *s, bool write, struct store_txn **out) MUST_USE;
enum status store_commit(struct store_txn *t) MUST_USE;
void store_abort(struct store_txn *t); /* takes NULL */

/* 'table' names one of at most 16 tables, made by the first put. Keys have 1 to 511 octets
 * (ST_ESPACE). *value is borrowed until the transaction ends, in a write transaction until the next
 * change. ST_ELIMIT: the map is full (the transaction is then only to be aborted), or there are too
 * many tables. */
enum status store_get(struct store_txn *t, const char *table, struct bytes key,
		      struct bytes *value) MUST_USE;
enum status store_put(struct store_txn *t, const char *table, struct bytes key,
		      struct bytes value) MUST_USE;
/* ST_ENOENT where there was none. */
enum status store_del(struct store_txn *t, const char *table, struct bytes key) MUST_USE;
/* Calls 'each' for every entry whose key starts with prefix, in memcmp order, until it returns
 * other than ST_OK, which is then the result. */
enum status store_scan(struct store_txn *t, const char *table, struct bytes prefix,
		       enum status (*each)(void *ctx, struct bytes key, struct bytes value),
		       void *ctx) MUST_USE;
