#include "nsd-core/base/store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_TABLES_MAX 16
#define STORE_TABLE_NAME 32
/* What LMDB is built with (MDB_MAXKEYSIZE); mdb_env_get_maxkeysize() is asked at open. */
#define STORE_KEY_MAX 511

struct store_table {
	char name[STORE_TABLE_NAME];
	MDB_dbi dbi;
};

/* LMDB lets one transaction at a time open table handles, and a handle is of use to transactions
 * begun after that one ended. So all tables on disk are opened with the store; later only the write
 * transaction, of which there is one, makes handles (of tables it creates), and they are made known
 * when it commits. A transaction knows the tables that were known when it began: what was created
 * later is not in its snapshot. */
struct store {
	MDB_env *env;
	bool read_only;
	MDB_dbi main_dbi;     /* the table of tables */
	pthread_mutex_t lock; /* tables, table_count */
	struct store_table tables[STORE_TABLES_MAX];
	size_t table_count;
};

struct store_txn {
	struct store *store;
	MDB_txn *txn;
	bool write;
	size_t known; /* of store->tables */
	struct store_table made[STORE_TABLES_MAX];
	size_t made_count;
};

static enum status store_status(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return ST_OK;
	case MDB_NOTFOUND:
		return ST_ENOENT;
	case MDB_KEYEXIST:
		return ST_EEXIST;
	case MDB_MAP_FULL:
	case MDB_DBS_FULL:
	case MDB_READERS_FULL:
	case MDB_TXN_FULL:
		return ST_ELIMIT;
	case MDB_BAD_VALSIZE:
		return ST_ESPACE;
	case MDB_MAP_RESIZED:
		return ST_EAGAIN;
	case ENOSPC:
	case EDQUOT:
		return ST_ELIMIT;
	default:
		/* LMDB's own codes are negative: a damaged or foreign file. */
		return rc < 0 ? ST_EIO : status_from_errno(rc);
	}
}

/* Opens handles of the tables on disk that have none yet. Under the lock or before sharing. */
static enum status store_find_tables(struct store *s)
{
	struct store_table found[STORE_TABLES_MAX];
	size_t count = s->table_count;
	MDB_txn *txn = NULL;
	MDB_cursor *cursor = NULL;
	MDB_val key;

	memcpy(found, s->tables, sizeof(found));
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0) {
		return store_status(rc);
	}
	rc = mdb_dbi_open(txn, NULL, 0, &s->main_dbi);
	if (rc != 0) {
		goto out;
	}
	rc = mdb_cursor_open(txn, s->main_dbi, &cursor);
	while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, NULL, MDB_NEXT)) == 0) {
		struct store_table *t = &found[count];
		bool have = false;
		for (size_t i = 0; i < count && !have; i++) {
			have = strlen(found[i].name) == key.mv_size &&
			       memcmp(found[i].name, key.mv_data, key.mv_size) == 0;
		}
		if (have) {
			continue;
		}
		if (count == STORE_TABLES_MAX || key.mv_size >= STORE_TABLE_NAME) {
			rc = MDB_DBS_FULL;
			goto out;
		}
		*t = (struct store_table){.dbi = 0};
		memcpy(t->name, key.mv_data, key.mv_size);
		rc = mdb_dbi_open(txn, t->name, 0, &t->dbi);
		count += rc == 0;
	}
	if (rc == MDB_NOTFOUND) {
		mdb_cursor_close(cursor);
		cursor = NULL;
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (rc == 0) {
		memcpy(s->tables, found, sizeof(found));
		s->table_count = count;
	}
out:
	if (cursor != NULL) {
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return store_status(rc);
}

/* Makes a new file's directory entry durable. */
static enum status sync_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		return status_from_errno(errno);
	}
	enum status st = fsync(fd) == 0 ? ST_OK : status_from_errno(errno);
	close(fd);
	return st;
}

static unsigned store_flags(const struct store_options *opt)
{
	/* MDB_NOTLS: a read transaction belongs to its handle, not to a thread. */
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;

	if (opt->read_only) {
		flags |= MDB_RDONLY;
	}
	/* Not with MDB_WRITEMAP: without it a crash of the process loses nothing, and a crash of
	 * the machine loses the latest commits, on file systems that keep the order of writes. */
	if (opt->lazy) {
		flags |= MDB_NOSYNC;
	}
	return flags;
}

/* A file that was cut short ends the process that reads the map behind its end (SIGBUS). Zeros
 * there are no pages, and are found out. It may be shorter than its last page without a fault: one
 * that was given back before it was written. */
static int fill_up(MDB_env *env, int fd)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat sb;
	int rc = mdb_env_info(env, &info);

	if (rc == 0) {
		rc = mdb_env_stat(env, &stat);
	}
	if (rc == 0 && fstat(fd, &sb) != 0) {
		rc = errno;
	}
	if (rc != 0) {
		return rc;
	}
	off_t whole = (off_t)(info.me_last_pgno + 1) * (off_t)stat.ms_psize;
	return sb.st_size >= whole || ftruncate(fd, whole) == 0 ? 0 : errno;
}

static enum status store_open_env(struct store *s, const char *path,
				  const struct store_options *opt)
{
	mdb_filehandle_t fd;
	int dead;
	int rc = mdb_env_create(&s->env);

	if (rc == 0) {
		rc = mdb_env_set_maxdbs(s->env, STORE_TABLES_MAX);
	}
	/* A reader takes the size that the writer put into the file. */
	if (rc == 0 && !opt->read_only) {
		rc = mdb_env_set_mapsize(s->env, opt->map_bytes);
	}
	if (rc == 0) {
		rc = mdb_env_open(s->env, path, store_flags(opt), 0600);
	}
	/* LMDB 0.9 opens its other files so, but not this one. Stores are opened before anything is
	 * spawned. */
	if (rc == 0) {
		rc = mdb_env_get_fd(s->env, &fd);
	}
	if (rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
		rc = errno;
	}
	if (rc == 0 && !opt->read_only) {
		rc = fill_up(s->env, fd);
	}
	/* Slots of readers that died keep old pages from being used again. */
	if (rc == 0) {
		rc = mdb_reader_check(s->env, &dead);
	}
	return store_status(rc);
}

enum status store_open(const char *dir, const char *name, const struct store_options *opt,
		       struct store **out, struct diags *d)
{
	char *path = NULL;
	enum status st;
	struct store *s = calloc(1, sizeof(*s));

	if (s == NULL || asprintf(&path, "%s/%s.lmdb", dir, name) < 0) {
		free(s);
		return ST_ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->read_only = opt->read_only;
	bool fresh = !opt->read_only && access(path, F_OK) != 0 && errno == ENOENT;
	st = store_open_env(s, path, opt);
	if (st == ST_OK && fresh) {
		st = sync_directory(dir);
	}
	if (st == ST_OK) {
		st = store_find_tables(s);
	}
	if (st != ST_OK) {
		diags_add(d, DIAG_ERROR, path, 0, 0, "the store cannot be opened: %s",
			  status_text(st));
		store_close(s);
		goto out;
	}
	*out = s;
out:
	free(path);
	return st;
}

void store_close(struct store *s)
{
	if (s == NULL) {
		return;
	}
	if (s->env != NULL) {
		/* What lazy commits left to the kernel; a failure here loses no more than a crash
		 * would. */
		if (!s->read_only) {
			mdb_env_sync(s->env, 1);
		}
		mdb_env_close(s->env);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* A read transaction in which every table on disk has a handle. Under the lock. */
static enum status begin_read(struct store *s, MDB_txn **out)
{
	for (;;) {
		MDB_txn *txn;
		MDB_stat stat;
		int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
		if (rc != 0) {
			return store_status(rc);
		}
		rc = mdb_stat(txn, s->main_dbi, &stat);
		/* In this process store_commit() keeps the tables; another one that writes may have
		 * made some meanwhile, at most STORE_TABLES_MAX times. */
		if (rc == 0 && (!s->read_only || stat.ms_entries == s->table_count)) {
			*out = txn;
			return ST_OK;
		}
		mdb_txn_abort(txn);
		enum status st = rc == 0 ? store_find_tables(s) : store_status(rc);
		if (st != ST_OK) {
			return st;
		}
	}
}

enum status store_begin(struct store *s, bool write, struct store_txn **out)
{
	enum status st = ST_OK;

	if (write && s->read_only) {
		return ST_EREFUSED;
	}
	struct store_txn *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return ST_ENOMEM;
	}
	t->store = s;
	t->write = write;
	if (write) {
		/* Waits for the other writer: outside the lock, which that one needs to commit. */
		st = store_status(mdb_txn_begin(s->env, NULL, 0, &t->txn));
	}
	pthread_mutex_lock(&s->lock);
	if (!write) {
		st = begin_read(s, &t->txn);
	}
	t->known = s->table_count;
	pthread_mutex_unlock(&s->lock);
	if (st != ST_OK) {
		free(t);
		return st;
	}
	*out = t;
	return ST_OK;
}

enum status store_commit(struct store_txn *t)
{
	struct store *s = t->store;
	bool made = t->made_count > 0;

	/* Readers that begin now see either the new tables' content and their handles, or neither.
	 */
	if (made) {
		pthread_mutex_lock(&s->lock);
	}
	int rc = mdb_txn_commit(t->txn);
	if (made) {
		if (rc == 0) {
			memcpy(&s->tables[s->table_count], t->made,
			       t->made_count * sizeof(t->made[0]));
			s->table_count += t->made_count;
		}
		pthread_mutex_unlock(&s->lock);
	}
	free(t);
	return store_status(rc);
}

void store_abort(struct store_txn *t)
{
	if (t == NULL) {
		return;
	}
	mdb_txn_abort(t->txn);
	free(t);
}

static bool table_find(const struct store_table *tables, size_t count, const char *name,
		       MDB_dbi *dbi)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(tables[i].name, name) == 0) {
			*dbi = tables[i].dbi;
			return true;
		}
	}
	return false;
}

/* ST_ENOENT: there is no such table and !create. */
static enum status txn_table(struct store_txn *t, const char *name, bool create, MDB_dbi *dbi)
{
	/* Entries below 'known' never change, so they are read without the lock. */
	if (table_find(t->store->tables, t->known, name, dbi) ||
	    table_find(t->made, t->made_count, name, dbi)) {
		return ST_OK;
	}
	if (!create) {
		return ST_ENOENT;
	}
	size_t len = strlen(name);
	if (t->known + t->made_count >= STORE_TABLES_MAX || len >= STORE_TABLE_NAME) {
		return ST_ELIMIT;
	}
	struct store_table *made = &t->made[t->made_count];
	int rc = mdb_dbi_open(t->txn, name, MDB_CREATE, &made->dbi);
	if (rc != 0) {
		return store_status(rc);
	}
	memcpy(made->name, name, len + 1);
	t->made_count++;
	*dbi = made->dbi;
	return ST_OK;
}

static bool key_fits(struct bytes key)
{
	return key.len > 0 && key.len <= STORE_KEY_MAX;
}

static MDB_val to_val(struct bytes b)
{
	return (MDB_val){.mv_size = b.len, .mv_data = (void *)(uintptr_t)b.data};
}

static struct bytes from_val(const MDB_val *v)
{
	return (struct bytes){v->mv_data, v->mv_size};
}

enum status store_get(struct store_txn *t, const char *table, struct bytes key, struct bytes *value)
{
	MDB_dbi dbi;
	MDB_val k = to_val(key);
	MDB_val v;

	if (!key_fits(key)) {
		return ST_ESPACE;
	}
	enum status st = txn_table(t, table, false, &dbi);
	if (st != ST_OK) {
		return st;
	}
	st = store_status(mdb_get(t->txn, dbi, &k, &v));
	if (st == ST_OK) {
		*value = from_val(&v);
	}
	return st;
}

enum status store_put(struct store_txn *t, const char *table, struct bytes key, struct bytes value)
{
	MDB_dbi dbi;
	MDB_val k = to_val(key);
	MDB_val v = to_val(value);

	if (!t->write) {
		return ST_EREFUSED;
	}
	if (!key_fits(key)) {
		return ST_ESPACE;
	}
	enum status st = txn_table(t, table, true, &dbi);
	if (st != ST_OK) {
		return st;
	}
	return store_status(mdb_put(t->txn, dbi, &k, &v, 0));
}

enum status store_del(struct store_txn *t, const char *table, struct bytes key)
{
	MDB_dbi dbi;
	MDB_val k = to_val(key);

	if (!t->write) {
		return ST_EREFUSED;
	}
	if (!key_fits(key)) {
		return ST_ESPACE;
	}
	enum status st = txn_table(t, table, false, &dbi);
	if (st != ST_OK) {
		return st;
	}
	return store_status(mdb_del(t->txn, dbi, &k, NULL));
}

enum status store_scan(struct store_txn *t, const char *table, struct bytes prefix,
		       enum status (*each)(void *ctx, struct bytes key, struct bytes value),
		       void *ctx)
{
	MDB_cursor *cursor;
	MDB_dbi dbi;
	MDB_val k = to_val(prefix);
	MDB_val v;

	if (prefix.len > STORE_KEY_MAX) {
		return ST_ESPACE;
	}
	enum status st = txn_table(t, table, false, &dbi);
	if (st != ST_OK) {
		return st == ST_ENOENT ? ST_OK : st;
	}
	int rc = mdb_cursor_open(t->txn, dbi, &cursor);
	if (rc != 0) {
		return store_status(rc);
	}
	rc = mdb_cursor_get(cursor, &k, &v, prefix.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
	while (rc == 0 && st == ST_OK) {
		if (k.mv_size < prefix.len ||
		    (prefix.len > 0 && memcmp(k.mv_data, prefix.data, prefix.len) != 0)) {
			break;
		}
		st = each(ctx, from_val(&k), from_val(&v));
		if (st == ST_OK) {
			rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
		}
	}
	mdb_cursor_close(cursor);
	if (st == ST_OK && rc != 0 && rc != MDB_NOTFOUND) {
		st = store_status(rc);
	}
	return st;
}
