#include "zones/dump.h"

#include "zones/rdata.h"

#include <stdlib.h>

/* A record of RDATA_MAX octets, each as \DDD, with the quotes of its strings. */
#define TEXT_MAX ((size_t)1 << 19)

struct dump {
	const struct version *v;
	const struct dump_options *opt;
	enum status (*line)(void *ctx, const char *text, size_t len);
	void *ctx;
	char *buf;
	size_t room;
};

static enum status check_complete(void *ctx, const struct node *n)
{
	const struct dump_options *opt = ctx;
	for (unsigned i = 0; i < n->rrset_count; i++) {
		if (rrset_sigs(n->rrsets[i]) == NULL && opt->covers(n, n->rrsets[i])) {
			return ST_EAGAIN;
		}
	}
	return ST_OK;
}

static enum status grow(struct dump *d)
{
	size_t room = d->room == 0 ? 4096 : d->room * 2;
	if (room > TEXT_MAX * 2) {
		return ST_ESPACE;
	}
	char *buf = realloc(d->buf, room);
	if (buf == NULL) {
		return ST_ENOMEM;
	}
	d->buf = buf;
	d->room = room;
	return ST_OK;
}

/* 'head' is all that stands before the RDATA. */
static enum status dump_record(struct dump *d, const char *head, uint16_t type, struct bytes rdata)
{
	size_t len = strlen(head);
	for (;;) {
		enum status st = ST_ESPACE;
		if (len + 2 < d->room) {
			memcpy(d->buf, head, len);
			st = rdata_to_text(type, rdata, d->buf + len, d->room - len - 1);
		}
		if (st == ST_OK) {
			len += strlen(d->buf + len);
			d->buf[len++] = '\n';
			d->buf[len] = '\0';
			return d->line(d->ctx, d->buf, len);
		}
		if (st == ST_ESPACE) {
			st = grow(d);
		}
		if (st != ST_OK) {
			return st;
		}
	}
}

static enum status dump_data(struct dump *d, const char *owner, uint32_t ttl, uint16_t type,
			     struct bytes data)
{
	char name[RRTYPE_TEXT_MAX];
	char head[NAME_TEXT_MAX + RRTYPE_TEXT_MAX + 32];
	enum status st = ST_OK;
	snprintf(head, sizeof(head), "%s\t%u\tIN\t%s\t", owner, (unsigned)ttl,
		 rrtype_to_text(type, name));
	const uint8_t *end = data.data + data.len;
	for (const uint8_t *p = data.data; st == ST_OK && p < end; p = rdata_next(p)) {
		st = dump_record(d, head, type, rdata_at(p));
	}
	return st;
}

static enum status dump_rrset(struct dump *d, const char *owner, const struct node *n,
			      const struct rrset *rs)
{
	uint8_t buf[SIGSET_BUF];
	enum status st = dump_data(d, owner, rs->ttl, rs->type, (struct bytes){rs->data, rs->size});
	const struct sigset *sigs = rrset_sigs(rs);
	bool covered = d->opt->covers == NULL || d->opt->covers(n, rs);
	if (st == ST_OK && sigs != NULL && covered) {
		/* An RRSIG's TTL is that of what it covers (RFC 4034 3). */
		st = dump_data(d, owner, rs->ttl, RR_RRSIG,
			       sigset_data(sigs, rs, d->v->apex_name, buf));
	}
	return st;
}

static enum status dump_node(void *ctx, const struct node *n)
{
	struct dump *d = ctx;
	char owner[NAME_TEXT_MAX];
	enum status st = ST_OK;
	name_to_text(node_name(n), owner);
	if (n == d->v->apex) {
		st = dump_rrset(d, owner, n, d->v->soa);
	}
	for (unsigned i = 0; st == ST_OK && i < n->rrset_count; i++) {
		if (n->rrsets[i] != d->v->soa) {
			st = dump_rrset(d, owner, n, n->rrsets[i]);
		}
	}
	return st;
}

enum status version_dump(const struct version *v, const struct dump_options *opt,
			 enum status (*line)(void *ctx, const char *text, size_t len), void *ctx)
{
	struct dump d = {.v = v, .opt = opt, .line = line, .ctx = ctx};
	enum status st = ST_OK;
	if (opt->complete_only && opt->covers != NULL) {
		struct dump_options copy = *opt;
		st = version_walk(v, check_complete, &copy);
	}
	if (st == ST_OK) {
		st = version_walk(v, dump_node, &d);
	}
	free(d.buf);
	return st;
}

static enum status write_line(void *ctx, const char *text, size_t len)
{
	return fwrite(text, 1, len, ctx) == len ? ST_OK : ST_EIO;
}

enum status version_dump_file(const struct version *v, const struct dump_options *opt, FILE *f)
{
	return version_dump(v, opt, write_line, f);
}
