/* One record of a master file: [owner] [TTL] [class] type RDATA (RFC 1035 5.1). */
#include "zones/master.h"
#include "zones/rdata_types.h"
#include "zones/version.h"

#include "nsd-core/base/text.h"

/* What stands between owner and RDATA. */
struct head {
	size_t next; /* the first token of the RDATA */
	uint16_t type;
	bool has_ttl;
	uint32_t ttl;
};

static void expect_owner(struct reader *r)
{
	const struct version *known = r->opt->known;
	if (known != NULL) {
		r->known_hash = name_hash(r->at.owner);
		r->known_page = nindex_page(&known->names, r->known_hash);
		nindex_page_prefetch(r->known_page, r->known_hash);
	}
}

static enum status set_owner(struct reader *r, struct source *src, const struct scan *s)
{
	const struct token *t = &s->tokens[0];
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	const char *why = NULL;
	if (t->len == src->owner_len && !t->quoted &&
	    memcmp(t->text, src->owner_text, t->len) == 0) {
		return ST_OK;
	}
	/* Should this one be bad: the records below that inherit it are read for their own faults,
	 * and where they land does not matter any more. */
	r->at.has_owner = true;
	src->owner_len = 0;
	if (t->quoted) {
		reader_expected(r, src, s, 0, "expected an owner name");
		return ST_EPARSE;
	}
	if (name_from_text(t->text, t->len, r->at.origin, name, &len, &why) != ST_OK) {
		reader_expected(r, src, s, 0, rdata_why("an owner name", why));
		return ST_EPARSE;
	}
	name_lower(r->at.owner, name);
	r->owner.name = NULL;
	expect_owner(r);
	if (!src->generated) {
		src->owner_text = t->text;
		src->owner_len = t->len;
	}
	return ST_OK;
}

static bool starts_with_digit(const struct token *t)
{
	return t->len > 0 && t->text[0] >= '0' && t->text[0] <= '9';
}

/* TTL and class, each at most once and in either order, then the type. No type starts with a digit.
 */
static enum status read_head(struct reader *r, const struct source *src, const struct scan *s,
			     size_t i, struct head *head)
{
	bool has_class = false;
	*head = (struct head){0};
	for (;; i++) {
		const struct token *t = &s->tokens[i];
		uint16_t rrclass;
		if (i == s->count || t->quoted) {
			break;
		}
		if (starts_with_digit(t)) {
			if (head->has_ttl || text_to_ttl(t->text, t->len, &head->ttl) != ST_OK) {
				reader_expected(r, src, s, i,
						head->has_ttl
							? "expected an RR type"
							: "expected a TTL from 0 to 2147483647");
				return ST_EPARSE;
			}
			head->has_ttl = true;
			continue;
		}
		/* The class that nearly all say is not looked for among the types. */
		bool is_in = !has_class && text_equal_nocase(t->text, t->len, "IN");
		if (!is_in && rrtype_from_text(t->text, t->len, &head->type) == ST_OK) {
			if (rrtype_is_meta(head->type)) {
				reader_expected(r, src, s, i,
						"expected an RR type that may stand in a zone");
				return ST_EPARSE;
			}
			head->next = i + 1;
			return ST_OK;
		}
		if (!is_in &&
		    (has_class || rrclass_from_text(t->text, t->len, &rrclass) != ST_OK)) {
			break;
		}
		if (!is_in && rrclass != CLASS_IN) {
			reader_expected(r, src, s, i, "expected class IN");
			return ST_EPARSE;
		}
		has_class = true;
	}
	reader_expected(r, src, s, i, "expected an RR type");
	return ST_EPARSE;
}

static void warn_ttl(struct reader *r, const struct source *src, const struct token *t,
		     const char *text)
{
	if (r->at.ttl_warned) {
		return;
	}
	if (r->ahead) {
		r->stuck = true;
		return;
	}
	r->at.ttl_warned = true;
	uint32_t line = src->generated ? src->place.line : t->line;
	uint32_t column = src->generated ? src->place.column : t->column;
	diags_add(r->d, DIAG_WARNING, src->name, line, column, "%s", text);
}

/* RFC 2308 4: its own TTL, else $TTL; else, as before that RFC, the last TTL that was written
 * (RFC 1035 5.1), and for an SOA in front of all others its MINIMUM. */
static enum status settle_ttl(struct reader *r, const struct source *src, const struct scan *s,
			      const struct head *head, size_t rdata_len, uint32_t *ttl)
{
	const struct token *t = &s->tokens[0];
	if (head->has_ttl) {
		r->wrote_ttl = true;
		r->at.has_last_ttl = true;
		r->at.last_ttl = head->ttl;
		*ttl = head->ttl;
		return ST_OK;
	}
	if (r->at.has_default_ttl) {
		*ttl = r->at.default_ttl;
		return ST_OK;
	}
	r->asked_ttl = true;
	if (r->at.has_last_ttl) {
		*ttl = r->at.last_ttl;
		warn_ttl(r, src, t, "no $TTL: records without a TTL get that of the one before");
	} else if (head->type == RR_SOA) {
		/* The last four octets; a value above the largest TTL counts as zero (RFC 2181 8).
		 */
		uint32_t minimum = be32_get(r->rdata + rdata_len - 4);
		r->at.default_ttl = minimum > INT32_MAX ? 0 : minimum;
		r->at.has_default_ttl = true;
		*ttl = r->at.default_ttl;
		warn_ttl(r, src, t, "no $TTL: records without a TTL get the SOA's MINIMUM");
	} else {
		reader_fault(r, src, t->line, t->column,
			     "expected a TTL, or $TTL before this record");
		return ST_EPARSE;
	}
	return ST_OK;
}

/* A place for the owner's name that lasts. */
static enum status keep_owner(struct reader *r)
{
	const uint8_t *name = r->at.owner;
	size_t len = name_len(name);
	if (r->owner.name != NULL) {
		return ST_OK;
	}
	r->owner.known = r->opt->known == NULL
				 ? NULL
				 : nindex_page_find(r->known_page, r->known_hash, name, len);
	r->owner.name = r->owner.known != NULL ? node_name(r->owner.known)
					       : arena_copy(&r->c->arena, name, len);
	return r->owner.name != NULL ? ST_OK : ST_ENOMEM;
}

/* ST_EPARSE: a fault, already reported. */
static enum status read_record(struct reader *r, struct source *src, const struct scan *s)
{
	struct head head;
	size_t len;
	size_t bad = 0;
	uint32_t ttl;
	const char *why = NULL;
	enum status st = ST_OK;
	if (!s->blank) {
		st = set_owner(r, src, s);
	} else if (!r->at.has_owner) {
		reader_expected(r, src, s, 0, "expected an owner name before this record");
		st = ST_EPARSE;
	}
	if (st == ST_OK) {
		st = read_head(r, src, s, s->blank ? 0 : 1, &head);
	}
	if (st != ST_OK) {
		return st;
	}
	const struct token *fields = s->tokens + head.next;
	st = rdata_from_tokens(head.type, fields, s->count - head.next, r->at.origin, r->rdata,
			       &len, &bad, &why);
	if (st == ST_EPARSE) {
		reader_expected(r, src, s, head.next + bad, why);
	}
	if (st == ST_OK) {
		st = settle_ttl(r, src, s, &head, len, &ttl);
	}
	if (st == ST_OK) {
		st = keep_owner(r);
	}
	if (st != ST_OK) {
		return st;
	}
	struct place place = {src->file, s->tokens[0].line, s->tokens[0].column};
	return content_add_owned(r->c, &r->owner, head.type, ttl, (struct bytes){r->rdata, len},
				 src->generated ? src->place : place);
}

enum status reader_record(struct reader *r, struct source *src, const struct scan *s)
{
	enum status st = read_record(r, src, s);
	return st == ST_EPARSE ? ST_OK : st;
}
